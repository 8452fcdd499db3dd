"""What a pod's fetch says of itself: why it ended, and how far it is."""

import json
from typing import Any

import pytest

from builders import NOW, observed
from pilothouse.api.modeldeploymentstatus import FetchStatus
from pilothouse.names import REVISION, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.diagnosis import diagnose
from pilothouse.plan.fetched import fetch_failure, fetching, is_fetching
from pilothouse.plan.hard import failure_of
from pilothouse.plan.observed import Object

CANARY = "aaaaaaaaaa"


def pod(**fetch: Any) -> Object:
    """A pod whose fetch is in this state."""
    status = {"initContainerStatuses": [{"name": "fetch", **fetch}], "podIP": "10.0.0.1"}
    labels = {REVISION: CANARY, "pilothouse.dev/deployment": "qwen-coder"}
    return {"metadata": {"name": "qwen-coder-x", "uid": "u", "labels": labels}, "status": status, "spec": {}}


def ended(message: object, code: int = 1) -> Object:
    text = message if isinstance(message, str) else json.dumps(message)
    return {
        "terminated": {"exitCode": code, "reason": "Error", "message": text, "finishedAt": NOW.isoformat()}
    }


MISMATCH = {"reason": "LicenseMismatch", "message": "the card says other"}


@pytest.mark.parametrize(
    "states",
    [
        {"state": ended(MISMATCH)},
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(MISMATCH)},
        {"state": {"running": {}}, "lastState": ended(MISMATCH)},
    ],
)
def test_the_last_word_of_a_fetch_that_failed_is_its_reason(states: Object) -> None:
    assert fetch_failure(pod(**states)) == Cause(Reason.LICENSE_MISMATCH, "qwen-coder-x: the card says other")


def test_a_fetch_that_came_to_its_end_has_no_failure_any_more() -> None:
    assert fetch_failure(pod(state=ended("", code=0), lastState=ended(MISMATCH))) is None


def test_a_fetch_that_was_killed_says_how() -> None:
    assert fetch_failure(pod(state=ended("", code=137))) == Cause(
        Reason.FETCH_FAILED, "qwen-coder-x: the fetch ended with code 137 (Error)"
    )


def test_an_image_without_the_fetch_s_program_is_said_in_the_runtime_s_words() -> None:
    never = {"exitCode": 128, "reason": "StartError", "message": 'exec: "python3": not found in $PATH'}

    assert fetch_failure(pod(state={"terminated": never})) == Cause(
        Reason.CONTAINER_CONFIG_INVALID, 'qwen-coder-x: exec: "python3": not found in $PATH'
    )


@pytest.mark.parametrize(
    "said", ["[1]", '{"reason": "Promoted", "message": "m"}', '{"reason": "New", "message": "m"}']
)
def test_a_word_that_is_none_of_a_fetch_is_not_believed(said: str) -> None:
    failure = fetch_failure(pod(state=ended(said)))

    assert failure
    assert failure.reason is Reason.FETCH_FAILED


def test_a_pod_without_a_fetch_has_none() -> None:
    bare = {"metadata": {"name": "p"}, "status": {}}

    assert fetch_failure(bare) is None
    assert not is_fetching(bare)


def test_why_the_fetch_failed_is_why_the_pods_are_not_ready() -> None:
    live = {"spec": {"selector": {"matchLabels": pod()["metadata"]["labels"]}}, "status": {}}

    cause = diagnose(live, [pod(state=ended(MISMATCH))])
    assert cause
    assert cause.reason is Reason.LICENSE_MISMATCH


@pytest.mark.parametrize(
    "reason", ["ArtifactMismatch", "LicenseMismatch", "RevisionNotFound", "TokenizerChanged"]
)
def test_a_canary_whose_pins_are_refuted_fails_at_once(reason: str) -> None:
    failure = failure_of([pod(state=ended({"reason": reason, "message": "m"}))], (), None, CANARY, "b" * 10)

    assert failure
    assert failure.reason == reason


@pytest.mark.parametrize("reason", ["HubUnavailable", "HubRateLimited", "HubAccessDenied", "CacheFull"])
def test_a_hub_that_is_down_says_nothing_of_the_canary(reason: str) -> None:
    failing = pod(state=ended({"reason": reason, "message": "m"}))

    assert failure_of([failing], (), None, CANARY, "b" * 10) is None


def test_progress_is_told_in_units_that_people_read() -> None:
    done = FetchStatus(
        pod="qwen-coder-x",
        phase="Downloading",
        bytes=13_207_024_435,
        total_bytes=65_498_251_264,
        bytes_per_second=251_658_240,
    )

    said = fetching(observed(fetch=done, pods=(pod(state={"running": {}}),)), CANARY)
    assert said == "qwen-coder-x: downloading 12.3 GiB of 61.0 GiB, 240.0 MiB/s"


def test_the_progress_of_another_revisions_pod_is_not_told() -> None:
    done = FetchStatus(pod="qwen-coder-x", phase="Downloading", bytes=1, total_bytes=2)

    assert fetching(observed(fetch=done, pods=(pod(),)), "b" * 10) is None
    assert fetching(observed(fetch=done), CANARY) is None


def test_a_fetch_that_knows_no_total_yet_asks_the_hub() -> None:
    done = FetchStatus(pod="qwen-coder-x", phase="Asking")

    assert fetching(observed(fetch=done, pods=(pod(),)), CANARY) == "qwen-coder-x asks the hub"


def test_a_fetch_whose_turn_has_not_come_waits() -> None:
    done = FetchStatus(pod="qwen-coder-x", phase="Waiting")
    said = "qwen-coder-x waits for a pod that fetches the same"

    assert fetching(observed(fetch=done, pods=(pod(),)), CANARY) == said
