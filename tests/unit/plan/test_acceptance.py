"""What is refused because only the cluster, or only the engine's release, can know; each names its field."""

import pytest

from builders import model_deployment, observed
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.names import Reason
from pilothouse.plan.acceptance import refusal_of
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object


def with_engine(**engine: object) -> ModelDeployment:
    """A ModelDeployment whose engine differs in this."""
    return model_deployment({"engine": engine})


def refusal(deployment: ModelDeployment, **fields: object) -> Cause:
    """The refusal, which there is."""
    found = refusal_of(observed(deployment, **fields))
    assert found
    return found


def test_a_spec_that_can_be_carried_out_is_accepted() -> None:
    assert refusal_of(observed()) is None


def test_a_missing_queue_class_is_named() -> None:
    found = refusal(model_deployment({"queueClassName": "night"}), queue_class=None)

    assert found == Cause(Reason.QUEUE_CLASS_NOT_FOUND, 'spec.queueClassName: there is no QueueClass "night"')


def test_a_missing_policy_is_named() -> None:
    found = refusal(model_deployment({"rollout": {"policyName": "careful"}}), policy=None)

    assert found == Cause(
        Reason.POLICY_NOT_FOUND, 'spec.rollout.policyName: there is no RolloutPolicy "careful"'
    )


def test_what_can_not_be_read_is_named_with_its_field() -> None:
    named = model_deployment({"queueClassName": "night", "rollout": {"policyName": "careful"}})
    unreadable = {"QueueClass": "spec.drain: must be short", "RolloutPolicy": "spec.bake: must be short"}

    assert refusal(named, queue_class=None, policy=None, unreadable=unreadable) == Cause(
        Reason.QUEUE_CLASS_UNREADABLE,
        'spec.queueClassName: QueueClass "night" can\'t be read: spec.drain: must be short',
    )
    assert refusal(named, policy=None, unreadable=unreadable) == Cause(
        Reason.POLICY_UNREADABLE,
        'spec.rollout.policyName: RolloutPolicy "careful" can\'t be read: spec.bake: must be short',
    )


def test_an_engine_whose_release_nobody_tells_is_refused() -> None:
    found = refusal(with_engine(image="registry.example/vllm:prod-7"))

    assert found.reason is Reason.ENGINE_VERSION_UNKNOWN
    assert found.message.startswith("spec.engine.version: the tag of registry.example/vllm:prod-7 ")


def test_the_declared_release_counts_where_the_tag_is_silent() -> None:
    assert refusal_of(observed(with_engine(image="registry.example/vllm:prod-7", version="0.32.0"))) is None


def test_the_declared_release_counts_against_the_tag() -> None:
    found = refusal(with_engine(image="vllm/vllm-openai:v0.32.0", version="0.17.0"))

    assert found.reason is Reason.ARGUMENT_NOT_SUPPORTED


@pytest.mark.parametrize(
    "word", ["--port=1", "--max_model_len=8", "--override-generation-config.max_new_tokens=9"]
)
def test_an_argument_of_the_operators_is_refused_by_its_flag(word: str) -> None:
    found = refusal(with_engine(extraArgs=["--seed=1", word]))

    flag = word.partition("=")[0].partition(".")[0].replace("_", "-")
    assert found.reason is Reason.ARGUMENT_NOT_ALLOWED
    assert found.message.startswith(f"spec.engine.extraArgs: {flag} ")


def test_an_old_engine_is_refused_by_the_flags_that_it_lacks() -> None:
    found = refusal(with_engine(image="vllm/vllm-openai:v0.28.0"))

    assert found.reason is Reason.ARGUMENT_NOT_SUPPORTED
    assert found.message.startswith("spec.engine.image: vLLM 0.28.0 does not have --max-num-queued-reqs,")


def test_an_argument_that_the_engine_lacks_is_named() -> None:
    found = refusal(with_engine(extraArgs=["--watchdog-config={}", "--seed=1"]))

    assert found == Cause(
        Reason.ARGUMENT_NOT_SUPPORTED, "spec.engine.extraArgs: vLLM 0.32.0 does not have --watchdog-config"
    )


def test_the_missing_lane_is_said_before_the_wrong_argument() -> None:
    found = refusal(with_engine(extraArgs=["--port=1"]), queue_class=None)

    assert found.reason is Reason.QUEUE_CLASS_NOT_FOUND


@pytest.mark.parametrize(
    ("engine", "missing"),
    [
        ({"image": "vllm/vllm-openai:latest"}, ()),
        ({"extraArgs": ["--port=1"]}, ()),
        ({"extraArgs": ["--no-such-flag"]}, ()),
        ({"image": "vllm/vllm-openai:v0.10.0"}, ()),
        ({}, ("queue_class",)),
        ({}, ("policy",)),
    ],
)
def test_every_refusal_begins_with_the_field_to_change(engine: Object, missing: tuple[str, ...]) -> None:
    found = refusal(with_engine(**engine), **dict.fromkeys(missing))

    assert found.message.partition(":")[0].startswith("spec.")
