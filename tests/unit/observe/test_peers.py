"""What a rollout of one ModelDeployment learns of the others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, manifest, model_deployment, observed, queue_class
from pilothouse.names import Reason
from pilothouse.observe.peers import peers
from pilothouse.observe.store import Store
from pilothouse.plan.fleet import own_entry
from pilothouse.plan.observed import Object, key_of
from pilothouse.plan.peers import CheckpointKey, FailedCheckpoint, Peer

SINCE = "2026-11-23T12:00:00Z"
QUEUED = {"rollout": {"state": "Waiting", "reason": "RolloutQueued", "startedAt": SINCE}}
ROLLS_OUT = {
    "canary": {"revision": "7f3a9c1d20"},
    "rollout": {"state": "Holding", "reason": "Holding", "startedAt": SINCE},
}
ME = manifest(name="me")


def rejection(reason: str = "CheckFailed", **fields: str) -> Object:
    entry = {
        "revision": "7f3a9c1d20",
        "time": SINCE,
        "checkpointSource": "hf://a/b",
        "checkpointRevision": "c0",
        **fields,
    }
    return {"rejectedRevisions": [{**entry, "reason": reason}]}


def model(name: str, status: Object | None = None, policy: str | None = None, **spec: Any) -> Object:
    rollout = {"rollout": {"policyName": policy}} if policy else {}
    return {**manifest({**rollout, **spec}, name=name), "status": status or {}}


class View:
    """A Store whose objects get newer with each change."""

    def __init__(self, *objects: Object) -> None:
        self.store, self.version = Store(), 0
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> None:
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.store.upsert({**obj, "metadata": metadata})

    def drop(self, obj: Object) -> None:
        self.version += 1
        self.store.evict(key_of(obj), self.version)

    def peers(self, me: Object = ME) -> list[str]:
        return [peer.name for peer in peers(self.store, me)]


def seen_of(status: Object) -> Peer:
    (peer,) = peers(View(model("other", status)).store, ME)
    return peer


def test_at_rest_there_is_nobody_to_look_at() -> None:
    view = View(*(model(f"m{number}") for number in range(5)))

    assert not list(view.store.standings())


def test_who_waits_its_turn_is_seen_since_when() -> None:
    peer = seen_of(QUEUED)

    assert (peer.queued_since, peer.rolls_out) == (NOW, False)


def test_who_waits_for_something_else_is_not_in_the_queue() -> None:
    waiting = {"rollout": {**QUEUED["rollout"], "reason": "SiblingFailed"}}

    assert View(model("other", waiting)).peers() == []


def test_who_rolls_out_takes_up_a_turn() -> None:
    peer = seen_of(ROLLS_OUT)

    assert (peer.queued_since, peer.rolls_out) == (None, True)


@pytest.mark.parametrize("reason", ["InsufficientGPU", "Unschedulable", "QuotaExceeded"])
def test_c8_who_has_no_room_takes_up_no_turn(reason: str) -> None:
    status = {**ROLLS_OUT, "rollout": {**ROLLS_OUT["rollout"], "reason": reason}}

    assert View(model("other", status)).peers() == []


def test_c8_a_swap_in_place_keeps_its_turn_while_it_waits_for_the_gpu() -> None:
    swap = {**ROLLS_OUT["rollout"], "reason": "InsufficientGPU", "capacity": "InPlace"}

    assert seen_of({**ROLLS_OUT, "rollout": swap}).rolls_out


def test_c8_a_rollout_keeps_its_turn_until_the_pods_that_gave_way_are_gone() -> None:
    """They hold GPUs that the next in the queue would look for in vain."""
    assert seen_of({"rollout": {"state": "Draining", "reason": "Promoted"}}).rolls_out


def test_a_rejected_checkpoint_is_seen_with_its_reason() -> None:
    assert seen_of(rejection()).failed == (
        FailedCheckpoint(CheckpointKey("hf://a/b", "c0"), Reason.CHECK_FAILED),
    )


def test_a_reason_that_a_newer_version_wrote_is_a_failure_all_the_same() -> None:
    assert seen_of(rejection("BrandNew")).failed[0].reason is Reason.REJECTED


def test_a_rejection_that_names_no_checkpoint_concerns_nobody() -> None:
    assert View(model("other", rejection(checkpointSource=""))).peers() == []


def test_rollouts_of_another_policy_are_left_out_and_failures_are_not() -> None:
    view = View(
        model("rolls", ROLLS_OUT, policy="careful"),
        model("waits", QUEUED),
        model("failed", rejection(), policy="careful"),
    )

    assert view.peers() == ["waits", "failed"]
    assert view.peers(model("me", policy="careful")) == ["rolls", "failed"]


def test_oneself_is_no_peer_but_a_namesake_is() -> None:
    namesake = model("me", QUEUED)
    namesake["metadata"]["namespace"] = "team-chat"
    view = View(model("me", QUEUED), namesake)

    assert [peer.namespace for peer in peers(view.store, ME)] == ["team-chat"]


def test_the_priority_is_that_of_the_lane_now() -> None:
    lane = {"kind": "QueueClass", "metadata": {"name": "completion"}, "spec": {"priority": 1000}}
    view = View(model("other", QUEUED), lane)
    assert [peer.priority for peer in peers(view.store, ME)] == [1000]

    view.put({**lane, "spec": {"priority": 5}})
    assert [peer.priority for peer in peers(view.store, ME)] == [5]

    view.put({**lane, "spec": {"priority": "high"}})
    assert [peer.priority for peer in peers(view.store, ME)] == [0]

    view.drop(lane)
    assert [peer.priority for peer in peers(view.store, ME)] == [0]


def test_who_comes_to_rest_or_is_deleted_is_forgotten() -> None:
    rests, goes = model("rests", ROLLS_OUT), model("goes", QUEUED)
    view = View(rests, goes)
    assert view.peers() == ["rests", "goes"]

    view.put(model("rests"))
    view.drop(goes)
    assert view.peers() == []


def test_an_object_that_does_not_hold_to_the_schema_is_seen_too() -> None:
    broken = {**model("broken", QUEUED), "spec": {"rollout": None}}

    assert View(broken).peers() == ["broken"]


@given(
    st.sampled_from(["", "careful"]), st.integers(-5, 5), st.sampled_from([QUEUED, ROLLS_OUT, rejection()])
)
def test_others_see_one_as_one_sees_oneself(policy: str, priority: int, status: Object) -> None:
    obj = model("qwen-coder", status, policy or None)
    lane = {"kind": "QueueClass", "metadata": {"name": "completion"}, "spec": {"priority": priority}}
    (theirs,) = peers(View(obj, lane).store, model("me", policy=policy or None))
    deployment = model_deployment({"rollout": {"policyName": policy or None}}, status)
    own = own_entry(observed(deployment, queue_class=queue_class({"priority": priority})))

    assert (own.namespace, own.name, own.policy, own.priority, own.queued_since) == (
        theirs.namespace,
        theirs.name,
        theirs.policy,
        theirs.priority,
        theirs.queued_since,
    )
