import dataclasses

import pytest

from builders import NOW, model_deployment, observed, queue_class
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.names import LICENSE_ID, REVISION, Reason
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.observed import Object, Observed, key_of
from pilothouse.plan.preflight import (
    Expected,
    Findings,
    failed,
    name_conflict,
    outcome,
    passed,
    preflight_of,
    tokenizer_change,
)
from pilothouse.plan.probes import fingerprint
from pilothouse.plan.revision import Revision, hash_of, inputs_of

OTHER = "1" * 40
STABLE, CANARY = [[1, 2], [3]], [[1, 9], [3]]
PINNED = fingerprint(STABLE)


def revision(**model: Object | str) -> Revision:
    """A revision frozen with the small good spec and these fields of its model."""
    inputs = inputs_of(model_deployment({"model": model}), queue_class())
    template = {"metadata": {"labels": {LICENSE_ID: "Apache-2.0"}}}
    return Revision(hash_of(inputs), 1, inputs, template, Lifecycle(startup=1, drain=1))


OLD, NEW = revision(name="old"), revision(name="new")


def expected(tokenizer: Object | None = None, name: str = "coder") -> Expected:
    """What a canary with this tokenizer must do beside a stable with the usual one."""
    stable = revision(name="coder")
    return Expected.of(revision(name=name, tokenizer=tokenizer or {}), stable)


def pod(uid: str = "p1", of: str = NEW.name, **changes: Object | str) -> Object:
    """A ready pod."""
    return {
        "metadata": {"uid": uid, "name": uid, "labels": {REVISION: of}, **changes.get("metadata", {})},
        "status": {
            "podIP": "10.0.0.1",
            "startTime": "2026-11-23T12:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T12:01:30Z"}],
            **changes.get("status", {}),
        },
    }


def result(uid: str, reason: str = "", message: str = "") -> PreflightStatus:
    """A result as the status holds it."""
    return PreflightStatus(pod=uid, reason=reason, message=message)


def rolling(*pods: Object, state: str = "Preflight") -> Observed:
    """A rollout under way, with these pods."""
    owner = "qwen-coder"
    records = [
        {
            "kind": "ControllerRevision",
            "metadata": {"name": f"{owner}-{each.name}", "namespace": "team-ide"},
            "revision": number,
            "data": each.data(),
        }
        for number, each in enumerate((OLD, NEW), start=1)
    ]
    status = {
        "stable": {"revision": OLD.name},
        "canary": {"revision": NEW.name},
        "rollout": {"state": state},
    }
    return observed(
        model_deployment(status=status), children={key_of(each): each for each in records}, pods=pods
    )


def test_the_cap_is_input_and_output_together() -> None:
    assert expected().cap == 8192 + 256


def test_a_tokenizer_with_the_same_source_and_revision_is_not_meant_to_change() -> None:
    assert expected().keeps_tokenizer


@pytest.mark.parametrize("changed", [{"revision": OTHER}, {"source": "hf://other/tokenizer"}])
def test_a_tokenizer_with_another_source_or_revision_is_meant_to_change(changed: Object) -> None:
    assert not expected(changed).keeps_tokenizer


def test_a_new_checkpoint_is_not_meant_to_change_a_tokenizer_of_the_same_pin() -> None:
    canary = revision(checkpoint={"revision": OTHER})
    assert Expected.of(canary, revision()).keeps_tokenizer


def test_without_stable_nothing_is_compared() -> None:
    without = Expected.of(revision(name="coder"), None)
    assert not without.compares
    assert name_conflict(without) is None


def test_other_tokens_than_stables_are_told_with_their_ids() -> None:
    """Scenario M1."""
    assert tokenizer_change(expected(), CANARY, STABLE) == (
        "probe text 0 differs from token 1 on: canary [9], stable [2] (2 and 2 tokens)"
    )


def test_the_same_tokens_as_stables_are_no_change() -> None:
    assert tokenizer_change(expected(), STABLE, STABLE) is None


def test_a_tokenizer_that_is_meant_to_change_may_yield_other_tokens() -> None:
    assert tokenizer_change(expected({"revision": OTHER}), CANARY, STABLE) is None


def test_other_tokens_than_the_pinned_ones_are_told_with_both_fingerprints_and_the_ids() -> None:
    """Scenario M1."""
    message = tokenizer_change(expected({"revision": OTHER, "fingerprint": PINNED}), CANARY, STABLE)
    assert message is not None
    assert fingerprint(CANARY) in message
    assert PINNED in message
    assert "canary [9], stable [2]" in message


def test_the_pin_decides_though_stable_has_other_tokens() -> None:
    assert tokenizer_change(expected({"fingerprint": fingerprint(CANARY)}), CANARY, STABLE) is None


def test_a_pin_needs_no_stable() -> None:
    message = tokenizer_change(expected({"fingerprint": PINNED}), CANARY, None)
    assert message == f"the tokenizer's fingerprint is {fingerprint(CANARY)}, pinned is {PINNED}"


def test_another_served_name_than_stables_can_share_no_traffic() -> None:
    """Scenario M7."""
    message = name_conflict(expected(name="other"))
    assert message is not None
    assert "'other'" in message
    assert "'coder'" in message


def test_the_same_served_name_as_stables_is_no_conflict() -> None:
    assert name_conflict(expected()) is None


def test_only_ready_pods_of_the_canary_are_tested() -> None:
    unready = pod("p2", status={"conditions": [{"type": "Ready", "status": "False"}]})
    leaving = pod("p3", metadata={"labels": {REVISION: NEW.name}, "deletionTimestamp": NOW.isoformat()})
    preflight = preflight_of(rolling(pod("p1"), unready, leaving, pod("p4", of=OLD.name)))
    assert preflight is not None
    assert [each["metadata"]["uid"] for each in preflight.canary] == ["p1"]
    assert [each["metadata"]["uid"] for each in preflight.stable] == ["p4"]


def test_a_canary_that_drains_is_not_tested() -> None:
    assert preflight_of(rolling(pod(), state="Draining")) is None


def test_without_a_canary_nothing_is_tested() -> None:
    assert preflight_of(observed(pods=(pod(),))) is None


def test_a_policy_without_preflight_asks_for_no_test() -> None:
    steps = tuple(step for step in BUILT_IN.steps if not step.preflight)
    policy = BUILT_IN.model_copy(update={"steps": steps})
    assert preflight_of(dataclasses.replace(rolling(pod()), policy=policy)) is None


def test_what_is_on_record_and_what_has_just_ended_come_together() -> None:
    found = outcome((result("p2"),), {"p1": result("p1")}, ["p3", "p2", "p1"])
    assert [each.pod for each in found.results] == ["p1", "p2"]
    assert found.failure is None
    assert found.pending == ("p3",)


def test_results_of_pods_that_are_gone_are_dropped() -> None:
    found = outcome((result("p1"), result("p2")), {}, ["p2"])
    assert [each.pod for each in found.results] == ["p2"]


def test_one_failed_pod_fails_the_preflight() -> None:
    found = outcome((result("p1"),), {"p2": result("p2", "TokenizerChanged", "p2: so")}, ["p1", "p2"])
    assert found.failure is not None
    assert (found.failure.reason, found.failure.message) == (Reason.TOKENIZER_CHANGED, "p2: so")


def test_a_failure_counts_though_its_pod_is_gone() -> None:
    found = outcome((), {"p1": result("p1", "PreflightFailed")}, [])
    assert found.results == ()
    assert found.failure is not None


def test_a_newer_versions_reason_is_a_failed_preflight() -> None:
    found = outcome((result("p1", "SomethingNew"),), {}, ["p1"])
    assert found.failure is not None
    assert found.failure.reason == Reason.PREFLIGHT_FAILED


def test_a_cold_start_lasts_from_the_pods_start_to_its_first_token() -> None:
    assert passed(pod(), Findings(PINNED, first_token_seconds=0.25)).cold_start_seconds == 90.25


def test_a_pod_that_does_not_tell_its_start_has_no_cold_start() -> None:
    found = passed(pod(status={"startTime": None}), Findings(PINNED, first_token_seconds=0.25))
    assert found.cold_start_seconds is None


def test_who_passed_shows_its_fingerprint_so_that_it_can_be_pinned() -> None:
    found = passed(pod(), Findings(PINNED, 0.25, notes=("nothing was compared",)))
    assert (found.pod, found.reason) == ("p1", "")
    assert found.message == f"the tokenizer's fingerprint is {PINNED}; nothing was compared"


def test_who_failed_is_named() -> None:
    found = failed(pod(), Reason.PREFLIGHT_FAILED, "streaming: the stream is empty")
    assert found.message == "p1: streaming: the stream is empty"
    assert found.reason == "PreflightFailed"
