"""The engine's command line: what the operator sets, and that nothing can be spelled around it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import COMMIT, DIGEST, OTHER_COMMIT, model_deployment, queue_class
from pilothouse.plan.arguments import OWNED, engine_arguments, flag_of, own_arguments, owned_flags
from pilothouse.plan.flags import FLAGS_0_33

OWNED_FLAGS = st.sampled_from(sorted(OWNED))
VALUES = st.sampled_from(["", "=1", "=", "=a=b", '={"max_new_tokens":9}', ".max_new_tokens=9", ".a.b=1"])

FREE = [
    "--enable-prefix-caching",
    "--no-enable-prefix-caching",
    "--max-num-batched-tokens=8192",
    "--model-loader-extra-config={}",
    "--tokenizer-mode=auto",
    "--gpu-memory-utilization=0.9",
    "--quantization=fp8",
    "--seed=1",
]
OWNED_SPELLINGS = [
    "--port=1",
    "--port",
    "--por",
    "--max_model_len=1",
    "--max-model",
    "--override-generation-config.max_new_tokens=9",
    "--override_generation_config.max_new_tokens=9",
    "--no-trust-remote-code",
    "--no-trust_remote",
    "--no-disable-log-stats",
    "--tokenizer=x",
]


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """One owned flag in any of the ways in which vLLM's parser would take it."""
    flag = draw(OWNED_FLAGS)
    name = flag.removeprefix("--")[: draw(st.integers(1, len(flag) - 2))]
    underscored = "".join("_" if sign == "-" and draw(st.booleans()) else sign for sign in name)
    return f"--{draw(st.sampled_from(['', 'no-', 'no_']))}{underscored}{draw(VALUES)}"


@given(spellings())
def test_no_spelling_of_an_owned_flag_passes(word: str) -> None:
    assert owned_flags(["--seed=1", word]) == [word]


@pytest.mark.parametrize("word", OWNED_SPELLINGS)
def test_this_spelling_of_an_owned_flag_does_not_pass(word: str) -> None:
    assert owned_flags([word]) == [word]


@pytest.mark.parametrize("word", FREE)
def test_a_flag_that_nobody_owns_passes(word: str) -> None:
    assert owned_flags([word]) == []


def test_an_owned_flag_takes_no_other_flag_with_it() -> None:
    free = {f"--{flag}" for flag in FLAGS_0_33} - OWNED

    assert owned_flags([*free, *(flag.replace("--", "--no-") for flag in free)]) == []


def test_everything_that_the_operator_sets_is_its_own() -> None:
    deployment = model_deployment({"engine": {"trustRemoteCode": True}})
    words = own_arguments(deployment, queue_class())[1:]

    assert owned_flags(words) == words


def test_every_owned_flag_is_one_of_the_engine() -> None:
    assert {flag.removeprefix("--") for flag in OWNED} <= FLAGS_0_33


def test_the_model_comes_first_and_the_users_own_last() -> None:
    deployment = model_deployment({"engine": {"extraArgs": ["--seed=1", "--enforce-eager"]}})
    words = engine_arguments(deployment, queue_class())

    assert words[0] == "Qwen/Qwen2.5-Coder-7B-Instruct"
    assert words[-2:] == ["--seed=1", "--enforce-eager"]


def test_checkpoint_and_tokenizer_are_pinned_each_by_its_own_revision() -> None:
    deployment = model_deployment({"model": {"tokenizer": {"revision": OTHER_COMMIT}}})
    words = engine_arguments(deployment, queue_class())

    assert f"--revision={COMMIT}" in words
    assert f"--tokenizer-revision={OTHER_COMMIT}" in words


def test_code_of_the_checkpoint_runs_only_when_asked_for_and_pinned() -> None:
    words = engine_arguments(model_deployment({"engine": {"trustRemoteCode": True}}), queue_class())

    assert {"--trust-remote-code", f"--code-revision={COMMIT}"} <= set(words)
    assert "--trust-remote-code" not in engine_arguments(model_deployment(), queue_class())


def test_a_mounted_model_is_named_by_its_path_and_not_by_a_revision() -> None:
    model = {
        "checkpoint": {"source": "pvc://models/qwen", "revision": DIGEST},
        "tokenizer": {"revision": DIGEST},
    }
    words = engine_arguments(
        model_deployment({"model": model, "engine": {"trustRemoteCode": True}}), queue_class()
    )

    assert words[0] == "/mnt/checkpoint"
    assert "--tokenizer=/mnt/tokenizer" in words
    assert not [word for word in words if "revision" in word]


def test_the_model_is_served_under_the_name_of_the_object_where_none_is_given() -> None:
    deployment = model_deployment({"model": {"name": None}}, name="plain")

    assert "--served-model-name=plain" in engine_arguments(deployment, queue_class())


def test_the_lane_caps_what_a_request_may_ask_for() -> None:
    lane = queue_class(
        {
            "requests": {"maxInputTokens": 1000, "maxOutputTokens": 24},
            "concurrency": {"perReplica": 3, "queuedPerReplica": 4},
        }
    )
    words = dict(word.split("=", 1) for word in engine_arguments(model_deployment(), lane) if "=" in word)

    assert words["--max-model-len"] == "1024"
    assert words["--max-num-seqs"] == "3"
    assert words["--max-num-queued-reqs"] == "7"
    assert json.loads(words["--override-generation-config"]) == {"max_new_tokens": 24}


def test_the_engine_drains_as_long_as_the_lane_says() -> None:
    words = engine_arguments(model_deployment(), queue_class({"drain": "1m500ms"}))

    assert "--shutdown-timeout=61" in words


@given(OWNED_FLAGS, VALUES)
def test_a_flag_is_told_from_its_value(flag: str, value: str) -> None:
    assert flag_of(f"{flag.replace('-', '_').replace('__', '--', 1)}{value}") == flag
