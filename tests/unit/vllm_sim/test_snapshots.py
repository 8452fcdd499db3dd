"""Offline, a model is the snapshot of its revision in the hub's cache, and nothing else."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import harness.hub
from harness.vllm_sim import flags
from harness.vllm_sim.config import EngineConfig, engine_config
from harness.vllm_sim.engine import tokenizer_of
from harness.vllm_sim.tokenizer_file import TokenizerFile

TOKENIZER = Path(harness.hub.__file__).parent / "data" / "tokenizer-code.json"
MODEL = "some/model"
COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of an engine that may not ask the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def fetched(cache: Path, model: str, commit: str) -> Path:
    """A snapshot as the fetch leaves it, without its weights."""
    snapshot = cache / f"models--{model.replace('/', '--')}" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    (snapshot / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8]}))
    shutil.copy(TOKENIZER, snapshot / "tokenizer.json")
    return snapshot


def config(*arguments: str) -> EngineConfig:
    return engine_config(flags.parse(["serve", MODEL, "--revision", COMMIT, *arguments]))


def test_the_snapshot_of_the_revision_is_served(cache: Path) -> None:
    snapshot = str(fetched(cache, MODEL, COMMIT))
    served = config()

    assert (served.model, served.tokenizer) == (snapshot, snapshot)
    assert (served.max_model_len, served.end_of_text) == (4096, 7)
    assert served.weights == f"{MODEL}@{COMMIT}"


def test_its_tokenizer_is_read_from_the_snapshot(cache: Path) -> None:
    fetched(cache, MODEL, COMMIT)
    tokenizer = tokenizer_of(config())

    assert isinstance(tokenizer, TokenizerFile)
    assert tokenizer.end_of_text == 7


def test_a_tokenizer_of_another_repository_has_a_snapshot_of_its_own(cache: Path) -> None:
    fetched(cache, MODEL, COMMIT)
    other = fetched(cache, "some/tokenizer", OTHER)

    assert config("--tokenizer=some/tokenizer", f"--tokenizer-revision={OTHER}").tokenizer == str(other)


def test_another_revision_in_the_cache_does_not_do(cache: Path) -> None:
    fetched(cache, MODEL, OTHER)

    with pytest.raises(LocalEntryNotFoundError):
        config()


def test_a_tokenizer_that_was_not_fetched_ends_the_engine(cache: Path) -> None:
    fetched(cache, MODEL, COMMIT)

    with pytest.raises(LocalEntryNotFoundError):
        config("--tokenizer=some/tokenizer", f"--tokenizer-revision={OTHER}")


def test_a_folder_is_served_as_it_is(cache: Path) -> None:
    folder = str(fetched(cache, MODEL, COMMIT))

    assert engine_config(flags.parse(["serve", folder])).model == folder
