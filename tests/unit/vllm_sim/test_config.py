"""What the flags come to: defaults, checks between flags, and what tells two engines apart."""

import json
from pathlib import Path

import pytest

from harness.vllm_sim import flags
from harness.vllm_sim.config import ConfigError, EngineConfig, engine_config


def config(*arguments: str, model: str = "some/model") -> EngineConfig:
    return engine_config(flags.parse(["serve", model, *arguments]))


def test_the_model_is_served_under_its_own_name_unless_another_is_given() -> None:
    assert config().served_names == ("some/model",)
    assert config("--served-model-name", "a", "b").name == "a"


def test_an_output_cap_comes_from_the_generation_config() -> None:
    assert config("--override-generation-config", '{"max_new_tokens": 9}').max_output_tokens == 9


def test_a_model_in_a_folder_says_how_long_its_context_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    assert config(model=str(tmp_path)).max_model_len == 4096
    with pytest.raises(ConfigError, match="greater than the derived max_model_len"):
        config("--max-model-len", "5000", model=str(tmp_path))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Invalid repository ID or local directory"):
        config(model=str(tmp_path))


def test_a_step_must_have_room_for_every_sequence() -> None:
    with pytest.raises(ConfigError, match="must be greater than or equal to max_num_seqs"):
        config("--max-num-seqs", "64", "--max-num-batched-tokens", "32")


def test_a_cache_too_small_for_one_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than the maximum number of tokens"):
        config("--num-gpu-blocks-override", "2", "--max-model-len", "1024")


def test_the_fingerprint_tells_revisions_apart_and_can_be_set() -> None:
    one, two = config("--revision", "a" * 40), config("--revision", "b" * 40)
    assert one.fingerprint != two.fingerprint
    assert str(config("-tp", "2").fingerprint).startswith("vllm-0.32.0-tp2-")
    assert config("--fingerprint-mode", "custom", "--fingerprint-value", "mine").fingerprint == "mine"
    assert config("--fingerprint-mode", "none").fingerprint is None
