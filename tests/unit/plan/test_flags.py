"""The table of vLLM's flags, held to the help of the real engine."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import model_deployment, queue_class
from pilothouse.plan.arguments import engine_arguments, flag_of
from pilothouse.plan.flags import (
    COMPLETE_SINCE,
    FLAGS_0_32,
    SINCE,
    Version,
    parse_version,
    supports,
    version_of_tag,
)

HELP_OF_0_32 = Path(__file__).parents[2] / "harness" / "vllm_sim" / "flags.json"

NAMED = {
    "vllm/vllm-openai:v0.32.0": Version(0, 32),
    "vllm/vllm-openai:v0.32.0-cu130": Version(0, 32),
    "registry.example:5000/team/vllm:0.33.1": Version(0, 33, 1),
    "vllm/vllm-openai:v0.32.0rc1": Version(0, 32),
    "vllm/vllm-openai:v1.0.0": Version(1, 0),
    "vllm/vllm-openai:v0.32.0@sha256:" + "a" * 64: Version(0, 32),
    "vllm:0.32": Version(0, 32),
}
SILENT = [
    "vllm/vllm-openai",
    "vllm/vllm-openai:latest",
    "registry.example:5000/vllm",
    "vllm/vllm-openai@sha256:" + "a" * 64,
    "registry.example/vllm:prod-7",
    "nvcr.io/nvidia/vllm:25.09-py3",
    "registry.example/vllm:2026.11.3",
    "registry.example/vllm:0",
]


@pytest.mark.parametrize("image", NAMED)
def test_a_tag_tells_the_release(image: str) -> None:
    assert version_of_tag(image) == NAMED[image]


@pytest.mark.parametrize("image", SILENT)
def test_a_tag_that_tells_no_release_is_not_guessed_at(image: str) -> None:
    assert version_of_tag(image) is None


@given(st.builds(Version, st.integers(0, 19), st.integers(0, 999), st.integers(0, 99)))
def test_a_release_is_read_back_as_it_is_written(version: Version) -> None:
    assert parse_version(str(version)) == version
    assert version_of_tag(f"vllm/vllm-openai:v{version}") == version


def test_the_table_has_exactly_the_flags_of_the_help() -> None:
    entries = json.loads(HELP_OF_0_32.read_text())
    names = {name for entry in entries for name in entry["names"]}

    assert {f"--{flag}" for flag in FLAGS_0_32} == {name for name in names if name.startswith("--")}


@pytest.mark.parametrize("version", [Version(0, 32), Version(0, 33)], ids=str)
def test_the_operator_sets_no_flag_that_the_engine_lacks(version: Version) -> None:
    deployment = model_deployment({"engine": {"trustRemoteCode": True}})
    words = engine_arguments(deployment, queue_class())[1:]

    assert not [word for word in words if not supports(version, flag_of(word))]


@pytest.mark.parametrize("flag", SINCE)
def test_a_flag_is_known_from_its_first_release_on(flag: str) -> None:
    first = SINCE[flag]

    assert supports(first, flag)
    assert not supports(Version(first.major, first.minor - 1, 99), flag)


def test_a_release_whose_flags_are_not_all_known_is_trusted() -> None:
    before = Version(COMPLETE_SINCE.major, COMPLETE_SINCE.minor - 1)

    assert supports(before, "--some-flag-of-its-time")


def test_a_newer_release_has_flags_of_its_own() -> None:
    assert supports(Version(0, 33), "--watchdog-config")
    assert not supports(Version(0, 32), "--watchdog-config")


def test_an_unknown_flag_of_a_known_release_is_told() -> None:
    assert not supports(Version(0, 32), "--no-such-flag")


def test_a_switch_is_known_in_its_negated_form() -> None:
    assert supports(Version(0, 32), "--no-enable-prefix-caching")
