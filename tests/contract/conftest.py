"""Which engine is held to the contract, and engines shared by all tests that want the same flags."""

import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from contract.engine import COMMON_FLAGS, KINDS, Engine, Kind
from contract.guarded import Guarded
from contract.recording import Recording
from contract.scrape import scrape
from contract.waiting import until

# Names, a middleware and request ids: what most tests talk to.
USUAL = (
    *("--max-model-len", "1024"),
    *("--served-model-name", "tiny", "tiny-too"),
    *("--middleware", "contract.middleware.Marker"),
    "--enable-request-id-headers",
)
# Two at a time, two more may wait, and a context that no stream reaches the end of in a test.
BUSY = (
    # Underscores, an equals sign and units are as good.
    "--max_model_len=16K",
    "--served_model_name=tiny",
    *("--max-num-seqs", "2"),
    *("--max-num-queued-reqs", "4"),
)
# All that a chat may bring into its prompt.
TEMPLATE = (
    "{{ 'Effort: ' + reasoning_effort if reasoning_effort else '' }}{{ tools | tojson if tools else '' }}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{{ 'assistant:' if add_generation_prompt else '' }}"
)
# Behind the guard: room for what the guard refuses and for streams that a test leaves.
GUARDED = ("--max-model-len", "16K", "--served-model-name", "tiny", "--chat-template", TEMPLATE)
# Served by the model's own name, with a cap on the output.
CAPPED = ("--max-model-len", "1024", "--override-generation-config", '{"max_new_tokens": 8}')


def pytest_addoption(parser: pytest.Parser) -> None:
    default = os.environ.get("PILOTHOUSE_CONTRACT_ENGINE", "sim")
    parser.addoption(
        "--engine", choices=sorted(KINDS), default=default, help="which engine is held to the contract"
    )
    parser.addoption(
        "--record", action="store_true", help="write what the engine answers into tests/contract/data"
    )


@pytest.fixture(scope="session")
def kind(pytestconfig: pytest.Config) -> Kind:
    return KINDS[pytestconfig.getoption("--engine")]


@pytest.fixture
def start(kind: Kind, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start a test's own engine; it is killed at the test's end."""
    with ExitStack() as stack:

        def start(*flags: str, wrapper: tuple[str, ...] = (), model: str = "") -> Engine:
            engine = Engine(kind, (*COMMON_FLAGS, *flags), tmp_path / "log", wrapper, model)
            stack.callback(engine.kill)
            return engine

        yield start


@pytest.fixture(scope="session")
def shared(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Engine]]:
    """Give the session's one engine with these flags, ready."""
    with ExitStack() as stack:

        @functools.cache
        def shared(*flags: str) -> Engine:
            engine = Engine(kind, (*COMMON_FLAGS, *flags), tmp_path_factory.mktemp("engine") / "log")
            stack.callback(engine.kill)
            engine.wait_ready()
            return engine

        yield shared


@pytest.fixture(scope="session")
def guarded(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Give the session's engine with the guard, ready."""
    engine = Guarded(kind, tmp_path_factory.mktemp("guard"), *GUARDED)
    try:
        engine.wait_ready()
        yield engine
    finally:
        engine.kill()


@pytest.fixture
def usual(shared: Callable[..., Engine]) -> Engine:
    return shared(*USUAL)


@pytest.fixture
def capped(shared: Callable[..., Engine]) -> Engine:
    return shared(*CAPPED)


@pytest.fixture
async def busy(shared: Callable[..., Engine], http: aiohttp.ClientSession) -> Engine:
    """Give the engine that is easily full, empty of what the last test left."""
    engine = shared(*BUSY)

    async def idle() -> bool:
        metrics = await scrape(http, engine)
        return metrics.value("vllm:num_requests_running") + metrics.value("vllm:num_requests_waiting") == 0

    await until(idle, "an idle engine")
    return engine


@pytest.fixture
def answers(pytestconfig: pytest.Config) -> Recording:
    return Recording("answers", writing=pytestconfig.getoption("--record"))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    # A connection of its own for each request: to close an answer is then to go away.
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=100)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session
