"""An engine that may not ask the hub serves what its cache has under the very revision, or ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from tokenizers import Tokenizer

import harness.hub
from contract.asking import PROMPT
from contract.cases import MESSAGES
from contract.engine import VLLM, Engine, Kind
from harness.real_vllm import paths

NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat "
    "template if the tokenizer does not define one."
)
OTHER_REVISION = "0" * 40
LAST_WORDS = "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk"
TOKENIZER = Path(harness.hub.__file__).parent / "data" / "tokenizer-code.json"


@pytest.fixture
def home(kind: Kind, tmp_path: Path) -> Path:
    """HF_HOME with MODEL_REVISION of MODEL_NAME, which has no chat template."""
    snapshot = tmp_path / paths.model().relative_to(paths.hub())
    if kind is VLLM:
        shutil.copytree(paths.model(), snapshot, ignore=shutil.ignore_patterns("chat_template.jinja"))
        return tmp_path
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"max_position_embeddings": 16384}))
    shutil.copy(TOKENIZER, snapshot / "tokenizer.json")
    return tmp_path


@pytest.fixture
def offline(start: Callable[..., Engine], home: Path) -> Callable[..., Engine]:
    """Start an engine with MODEL_NAME, the cache and no hub."""
    environment = ("env", f"HF_HOME={home}", "HF_HUB_OFFLINE=1")

    def offline(*flags: str) -> Engine:
        return start(*flags, "--max-model-len=1024", wrapper=environment, model=paths.MODEL_NAME)

    return offline


async def test_the_snapshot_is_served_with_its_own_tokenizer_and_without_a_template_that_it_lacks(
    offline: Callable[..., Engine], home: Path, http: aiohttp.ClientSession
) -> None:
    engine = offline(f"--revision={paths.MODEL_REVISION}")
    engine.wait_ready()
    snapshot = home / paths.model().relative_to(paths.hub())

    async with http.post(f"{engine.url}/tokenize", json={"prompt": PROMPT}) as answer:
        tokens = (await answer.json())["tokens"]
    async with http.get(f"{engine.url}/v1/models") as answer:
        [model] = (await answer.json())["data"]
    async with http.post(f"{engine.url}/v1/chat/completions", json={"messages": MESSAGES}) as answer:
        refused = (answer.status, (await answer.json())["error"]["message"])

    assert refused == (400, NO_TEMPLATE)
    assert tokens == Tokenizer.from_file(str(snapshot / "tokenizer.json")).encode(PROMPT).ids
    assert model["id"] == model["root"] == paths.MODEL_NAME


@pytest.mark.parametrize("flag", ["--revision", "--tokenizer-revision"])
def test_a_revision_that_is_not_in_the_cache_ends_the_engine(
    offline: Callable[..., Engine], flag: str
) -> None:
    pins = {"--revision": paths.MODEL_REVISION, "--tokenizer-revision": paths.MODEL_REVISION}
    pins[flag] = OTHER_REVISION
    flags = [f"{name}={revision}" for name, revision in pins.items()]
    ended = offline(f"--tokenizer={paths.MODEL_NAME}", *flags).wait_ended()

    assert ended.code == 1
    assert f"huggingface_hub.errors.LocalEntryNotFoundError: {LAST_WORDS}" in ended.output
