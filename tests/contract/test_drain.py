"""SIGTERM: with no timeout the engine is deaf at once, with one it finishes what it has begun.

Whether the real engine then ends differs from run to run where a stream was live; docs/contract.md tells it.
"""

import json
from collections.abc import Callable

import aiohttp
import pytest

from contract.asking import DONE, endless, events, greedy, streaming
from contract.engine import Engine
from contract.waiting import until

BASE = ("--max-model-len", "16384", "--served-model-name", "tiny", "--shutdown-timeout")


@pytest.fixture
def aborting(start: Callable[..., Engine]) -> Engine:
    engine = start(*BASE, "0")
    engine.wait_ready()
    return engine


@pytest.fixture
def draining(start: Callable[..., Engine]) -> Engine:
    engine = start(*BASE, "60")
    engine.wait_ready()
    return engine


async def test_without_a_timeout_nothing_more_is_taken_on(
    aborting: Engine, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, aborting, **endless()) as answer:
        await anext(events(answer))
        aborting.terminate()
        await _deaf(http, aborting)


async def test_an_idle_engine_ends_well_at_once(aborting: Engine) -> None:
    aborting.terminate()
    assert aborting.wait_ended(60).code == 0


async def test_with_a_timeout_a_live_stream_is_finished(
    draining: Engine, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, draining, max_tokens=2000) as answer:
        pieces = events(answer)
        await anext(pieces)
        draining.terminate()
        await _turned_away(http, draining)
        await _still_healthy(http, draining)
        *_, last, done = [piece async for piece in pieces]
    assert done == DONE
    assert json.loads(last)["choices"][0]["finish_reason"] == "length"
    assert draining.wait_ended(60).code == 0


async def _turned_away(http: aiohttp.ClientSession, engine: Engine) -> None:
    """Return when a new request is refused as the real engine refuses it while it drains."""
    message = "cannot schedule new futures after shutdown"

    async def refused() -> bool:
        async with http.post(f"{engine.url}/v1/completions", json=greedy(max_tokens=1)) as answer:
            return answer.status == 500 and (await answer.json())["error"]["message"] == message

    await until(refused, "the refusal of new requests")


async def _still_healthy(http: aiohttp.ClientSession, engine: Engine) -> None:
    async with http.get(f"{engine.url}/health") as answer:
        assert answer.status == 200


async def _deaf(http: aiohttp.ClientSession, engine: Engine) -> None:
    """Return when the engine takes no more connections."""

    async def refused() -> bool:
        try:
            async with http.get(f"{engine.url}/health"):
                return False
        except aiohttp.ClientConnectionError:
            return True

    await until(refused, "the end of listening")
