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
from contract.engine import VLLM, Engine, Kind
from harness.real_vllm import paths

OTHER_REVISION = "0" * 40
LAST_WORDS = "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk"
TOKENIZER = Path(harness.hub.__file__).parent / "data" / "tokenizer-code.json"


@pytest.fixture
def home(kind: Kind, tmp_path: Path) -> Path:
    """HF_HOME with MODEL_REVISION of MODEL_NAME; the real engine has its own, as it needs weights."""
    if kind is VLLM:
        return paths.hub()
    snapshot = tmp_path / paths.model().relative_to(paths.hub())
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


async def test_the_snapshot_is_served_with_its_own_tokenizer(
    offline: Callable[..., Engine], home: Path, http: aiohttp.ClientSession
) -> None:
    engine = offline(f"--revision={paths.MODEL_REVISION}")
    engine.wait_ready()
    snapshot = home / paths.model().relative_to(paths.hub())

    async with http.post(f"{engine.url}/tokenize", json={"prompt": PROMPT}) as answer:
        tokens = (await answer.json())["tokens"]
    async with http.get(f"{engine.url}/v1/models") as answer:
        [model] = (await answer.json())["data"]

    assert tokens == Tokenizer.from_file(str(snapshot / "tokenizer.json")).encode(PROMPT).ids
    assert model["id"] == model["root"] == str(snapshot)


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
