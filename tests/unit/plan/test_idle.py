"""While no canary runs: what waits for its turn, what is not tried again, and what begins."""

from datetime import timedelta

import pytest

from builders import COMMIT, OTHER_COMMIT, condition
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.api.modeldeploymentstatus import ModelDeploymentStatus
from pilothouse.names import REJECTED, REVISION, Reason
from pilothouse.plan.peers import CheckpointKey, FailedCheckpoint, Peer
from rollout_scene import Scene, policy, scene

NEW = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
OLD = {"model": {"checkpoint": {"revision": COMMIT}}}
THIRD = {"model": {"checkpoint": {"revision": "c" * 40}}}
WEIGHTS = CheckpointKey("hf://Qwen/Qwen2.5-Coder-7B-Instruct", OTHER_COMMIT)


def peer(name: str, **fields: object) -> Peer:
    """Another ModelDeployment that follows the same policy."""
    return Peer(**{"namespace": "team-ide", "name": name, "policy": "", "priority": 0, **fields})  # type: ignore[arg-type]


def rejected() -> Scene:
    """A scene whose canary was rolled back, and where nothing is left of it."""
    tried = scene().edit(NEW)
    tried.behaves(tried.target, errors=0.5)
    tried.reach(lambda now: bool(now.status["rejectedRevisions"]))
    tried.behaviours.clear()
    return tried.run(10)


def test_the_first_look_is_a_wait_so_that_others_can_see_it() -> None:
    edited = scene().edit(NEW)
    edited.step()

    assert edited.state == "Waiting"
    assert edited.canary is None
    assert condition(edited.plan, "Ready")["reason"] == Reason.ROLLOUT_QUEUED


def test_no_more_rollouts_run_than_the_policy_allows() -> None:
    """C8."""
    rolling = tuple(peer(f"other-{number}", rolls_out=True) for number in range(3))
    queued = scene().edit(NEW, peers=rolling).run(30)

    assert queued.state == "Waiting"
    assert "3 of 3 roll out" in condition(queued.plan, "Ready")["message"]
    queued.change(peers=rolling[1:])
    queued.reach(lambda now: now.canary is not None, 10)


def test_who_is_in_a_lane_of_higher_priority_goes_first() -> None:
    """C8."""
    first = peer("urgent", priority=9, queued_since=scene().seen.now)
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(first,)).run(30)

    assert queued.state == "Waiting"
    assert "position 2 in the queue" in condition(queued.plan, "Ready")["message"]


def test_the_place_in_the_queue_is_kept_while_it_waits() -> None:
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(peer("other", rolls_out=True),))
    queued.step()
    since = queued.status["rollout"]["startedAt"]

    assert queued.run(60).status["rollout"]["startedAt"] == since


@pytest.mark.parametrize("leaves", [{"queue_class": None}, {"policy": None}])
def test_what_cannot_begin_any_more_leaves_the_queue(leaves: dict[str, None]) -> None:
    queued = scene().edit(NEW, peers=(peer("other", rolls_out=True),), policy=policy(maxConcurrentRollouts=1))
    queued.run(5)

    assert "rollout" not in queued.change(**leaves).run(5).status


def test_what_is_edited_back_leaves_the_queue() -> None:
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(peer("other", rolls_out=True),))
    queued.run(5)

    after = queued.edit(OLD).run(5)
    assert "rollout" not in after.status
    assert after.status["phase"] == "Ready"


def test_a_model_without_pods_leaves_the_queue_and_takes_over() -> None:
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(peer("other", rolls_out=True),))
    queued.run(5)

    after = queued.edit({"replicas": 0}).run(5)
    assert "rollout" not in after.status
    assert after.stable == after.target


def test_a_paused_spec_begins_nothing() -> None:
    paused = scene().edit({**NEW, "rollout": {"paused": True}}).run(30)

    assert (paused.state, paused.canary) == ("Waiting", None)
    assert condition(paused.plan, "Ready")["reason"] == Reason.ROLLOUT_PAUSED
    paused.edit({"rollout": {"paused": False}}).reach(lambda now: now.canary is not None, 10)


def test_weights_that_failed_elsewhere_are_not_tried() -> None:
    failed = peer("other", failed=(FailedCheckpoint(WEIGHTS, Reason.CHECK_FAILED),))
    held = scene().edit(NEW, peers=(failed,)).run(30)

    assert held.canary is None
    assert condition(held.plan, "Ready")["reason"] == Reason.SIBLING_FAILED
    assert condition(held.plan, "Stalled")["status"] == "True"
    assert "team-ide/other" in condition(held.plan, "Ready")["message"]


def test_what_waits_names_its_revision_so_that_a_command_can() -> None:
    failed = peer("other", failed=(FailedCheckpoint(WEIGHTS, Reason.CHECK_FAILED),))
    held = scene().edit(NEW, peers=(failed,)).run(5)

    assert f"revision {held.target} waits" in condition(held.plan, "Ready")["message"]


def test_a_person_may_try_weights_that_failed_elsewhere() -> None:
    failed = peer("other", failed=(FailedCheckpoint(WEIGHTS, Reason.CHECK_FAILED),))
    held = scene().edit(NEW, peers=(failed,)).run(5)

    held.say(f"retry/{held.target}")
    assert held.reach(lambda now: now.stable == now.target).status["phase"] == "Ready"


def test_a_rejected_revision_is_not_tried_again_and_stays_in_the_spec() -> None:
    """L7, W4."""
    after = rejected()
    before = after.seen.deployment.spec

    after.run(100)
    assert after.canary is None
    assert after.seen.deployment.spec == before
    assert after.stable != after.target
    assert condition(after.plan, "Ready")["status"] == "False"
    assert condition(after.plan, "Stalled")["reason"] == Reason.ERROR_STORM
    assert after.status["phase"] == "Degraded"


def test_a_rejected_revision_stays_rejected_when_it_is_asked_for_again() -> None:
    """L8."""
    after = rejected()
    failed = after.target
    after.edit(OLD).run(10)
    assert after.status["phase"] == "Ready"

    after.edit(NEW).run(60)
    assert after.target == failed
    assert after.canary is None


def without_status(after: Scene) -> Scene:
    """Somebody has lost the status, a restore from a backup say."""
    lost = after.seen.deployment.model_copy(update={"status": ModelDeploymentStatus()})
    after.change(deployment=lost)
    return after


def test_a_rejected_revision_stays_rejected_though_the_status_is_lost() -> None:
    """L8."""
    after = rejected()
    failed, known = after.target, after.status["rejectedRevisions"]

    without_status(after).run(60)
    assert after.stable != failed
    assert after.canary is None
    assert after.status["rejectedRevisions"] == known
    assert condition(after.plan, "Ready")["reason"] == Reason.ERROR_STORM


def test_a_rejection_goes_along_when_another_revision_becomes_stable() -> None:
    """L8."""
    after = rejected()
    failed = after.target
    after.edit(THIRD).reach(lambda now: now.stable == now.target).run(10)

    without_status(after).edit(NEW).run(60)
    assert after.target == failed
    assert after.canary is None


def test_what_a_person_had_tried_again_is_not_rejected_when_the_status_is_lost() -> None:
    after = rejected()
    after.say(f"retry/{after.target}").reach(lambda now: now.stable == now.target).run(10)

    assert without_status(after).run(10).status["rejectedRevisions"] == []


@pytest.mark.parametrize("text", ["", "[]", "{", '[{"revision": 1}]', '"a word"'])
def test_a_kept_rejection_that_cannot_be_read_rejects_nothing(text: str) -> None:
    after = rejected()
    key = next(key for key in after.seen.children if key.kind == "ControllerRevision")
    record = after.seen.children[key]
    meddled = {**record, "metadata": {**record["metadata"], "annotations": {REJECTED: text}}}
    after.change(children={**after.seen.children, key: meddled})

    without_status(after).tick()
    assert after.plan.status["rejectedRevisions"] == []


def test_a_rejected_revision_is_tried_again_when_a_person_says_so() -> None:
    """L8."""
    after = rejected()

    after.say(f"retry/{after.target}").reach(lambda now: now.stable == now.target)
    assert after.status["rejectedRevisions"] == []


def test_a_command_to_retry_another_revision_retries_nothing() -> None:
    after = rejected().say("retry/0123456789").run(30)

    assert after.canary is None


def test_one_command_retries_once() -> None:
    after = rejected()
    after.say(f"retry/{after.target}").reach(lambda now: now.canary is not None)
    after.behaves(after.target, errors=0.5).reach(lambda now: now.canary is None)

    assert after.run(60).canary is None
    after.say(f"retry/{after.target}/2").reach(lambda now: now.canary is not None)


def test_bad_after_bad_after_good_ends_with_the_good_one() -> None:
    """L11."""
    after = rejected()
    after.edit({"model": {"checkpoint": {"revision": "b" * 40}}})
    after.behaves(after.target, slow=0.9).reach(lambda now: len(now.status["rejectedRevisions"]) == 2)
    after.edit({"model": {"checkpoint": {"revision": "c" * 40}}})

    after.reach(lambda now: now.status["phase"] == "Ready")
    assert after.stable == after.target


def test_a_rollout_that_waits_can_be_aborted() -> None:
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(peer("other", rolls_out=True),))
    queued.run(5)

    queued.say(f"abort/{queued.target}").change(peers=()).run(30)
    assert queued.canary is None
    assert condition(queued.plan, "Ready")["reason"] == Reason.ABORTED


def test_a_pause_that_is_said_in_the_queue_holds_the_rollout_when_it_begins() -> None:
    queued = scene(policy=policy(maxConcurrentRollouts=1)).edit(NEW, peers=(peer("other", rolls_out=True),))
    queued.run(5)

    queued.say(f"pause/{queued.target}").run(5)
    queued.change(peers=()).run(30)
    assert (queued.state, queued.weight) == ("Paused", 0)


@pytest.mark.parametrize("verb", ["abort", "promote", "pause", "resume", "retry"])
def test_a_command_while_nothing_is_in_progress_does_nothing(verb: str) -> None:
    """L4."""
    resting = scene()
    before = resting.plan

    resting.say(f"{verb}/{resting.stable}").run(5)
    assert resting.plan.objects == before.objects
    assert resting.status == before.status


def test_a_license_that_drains_all_forgets_no_rejection() -> None:
    after = rejected()
    failed = after.target
    deny = LicensePolicySpec.model_validate({"default": "Deny", "onViolation": "Drain"})
    after.change(license_policies={"strict": deny}).run(5)
    assert after.seen.children_of_kind("Deployment") == []

    after.change(license_policies={}).run(5)
    assert [entry["revision"] for entry in after.status["rejectedRevisions"]] == [failed]


def test_a_rollback_is_over_when_the_pods_are_gone() -> None:
    after = rejected()

    assert after.status["lastRollback"]["finishedAt"]
    assert "rollout" not in after.status


@pytest.mark.parametrize(("minutes", "over"), [(0, False), (2, True)])
def test_a_pod_whose_node_fell_silent_holds_no_rollout_open_for_ever(minutes: int, *, over: bool) -> None:
    tried = scene().edit(NEW)
    tried.behaves(tried.target, errors=0.5).reach(lambda now: now.state == "Draining")
    ending = {
        "metadata": {
            "name": "lost",
            "uid": "lost",
            "labels": {REVISION: tried.target},
            "deletionTimestamp": (tried.seen.now - timedelta(minutes=minutes)).isoformat(),
        },
        "status": {},
    }
    tried.tick()

    tried.change(pods=(ending,)).tick()
    assert ("rollout" not in tried.plan.status) is over


def test_one_replica_in_place_is_refused_with_its_reason() -> None:
    """C2."""
    alone = scene(1, {"rollout": {"capacity": "InPlace"}}).edit(NEW).run(30)

    assert alone.canary is None
    assert condition(alone.plan, "Ready")["reason"] == Reason.INSUFFICIENT_GPU
    assert alone.asked(alone.stable) == 1
