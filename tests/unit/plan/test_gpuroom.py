"""What a TenantQuota means to one ModelDeployment."""

from dataclasses import replace
from typing import Any

import pytest

from builders import OTHER_COMMIT, Cluster, by_kind, condition, model_deployment, observed, queue_class
from pilothouse.api.queueclass import QueueClass
from pilothouse.names import KUEUE_QUEUE, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.gpuroom import allot, need_of
from pilothouse.plan.gpus import Gpus, Limits
from pilothouse.plan.plan import plan
from pilothouse.plan.revision import revisions_of
from pilothouse.plan.room import Room
from pilothouse.plan.types import Plan
from rollout_scene import Scene, policy, scene

NEW = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def room(most: int, held: int = 0, limit: int = 16, **more: Any) -> Room:
    """Room in the TenantQuota `team-ide`, for one that has all its GPUs in the lane `completion`."""
    has = Gpus.counted([("completion", held)])
    return Room("team-ide", Limits(most), has, Limits(limit), **{"position": 1, **more})


def replicas(after: Plan) -> list[int]:
    """Pods that the Deployments are to have."""
    return [obj["spec"]["replicas"] for obj in by_kind(after, "Deployment")]


def quota(after: Plan) -> tuple[str, str]:
    """Status and reason of QuotaReserved."""
    found = condition(after, "QuotaReserved")
    return found["status"], found["reason"]


def test_without_a_quota_nothing_is_limited() -> None:
    after = plan(observed(model_deployment({"replicas": 9})))

    assert replicas(after) == [9]
    assert quota(after) == ("True", Reason.NOT_LIMITED)


def test_a_new_one_takes_its_gpus_and_says_so() -> None:
    after = plan(observed(room=room(8)))

    assert replicas(after) == [2]
    assert (after.gpus.reserved.total, after.gpus.wanted.total) == (2, 2)
    assert quota(after) == ("True", Reason.QUOTA_RESERVED)
    assert "2 GPUs are reserved" in condition(after, "QuotaReserved")["message"]


def test_one_that_finds_no_gpus_gets_no_pod_and_waits_at_a_position() -> None:
    after = plan(observed(room=room(0, position=3, ahead="team-b/star")))

    assert replicas(after) == [0]
    assert (after.gpus.reserved.total, after.gpus.wanted.total) == (0, 2)
    assert quota(after) == ("False", Reason.WAITING_FOR_QUOTA)
    assert "position 3 in the queue behind team-b/star" in condition(after, "QuotaReserved")["message"]
    assert after.status["phase"] == "Pending"
    assert condition(after, "Ready")["reason"] == Reason.WAITING_FOR_QUOTA
    assert condition(after, "Stalled")["status"] == "False"


def test_one_gets_those_pods_that_fit_whole() -> None:
    after = plan(observed(model_deployment({"resources": {"gpu": {"count": 4}}}), room=room(7)))

    assert replicas(after) == [1]
    assert (after.gpus.reserved.total, after.gpus.wanted.total, after.gpus.unit) == (4, 8, 4)


def test_scaling_past_the_limit_holds_at_the_limit_and_says_so() -> None:
    cluster = Cluster(observed(room=room(16)))
    cluster.settle()
    after = cluster.change({"replicas": 20}, room=room(16, held=2)).settle()

    assert replicas(after) == [16]
    assert quota(after) == ("False", Reason.QUOTA_EXCEEDED)
    assert "its limit is 16" in condition(after, "QuotaReserved")["message"]


def test_a_lowered_limit_takes_no_pod_away() -> None:
    cluster = Cluster(observed(model_deployment({"replicas": 6}), room=room(16)))
    cluster.settle()
    after = cluster.change(room=room(6, held=6, limit=2)).settle()

    assert replicas(after) == [6]
    assert quota(after)[0] == "True"


@pytest.mark.parametrize("reason", [Reason.QUOTA_CONFLICT, Reason.QUOTA_MISSING, Reason.QUOTA_UNREADABLE])
def test_where_nothing_new_is_admitted_what_runs_goes_on(reason: Reason) -> None:
    cluster = Cluster(observed())
    cluster.settle()
    closed = room(2, held=2, limit=2, closed=Cause(reason, "said so"))
    after = cluster.change(room=closed).settle()
    assert (replicas(after), quota(after)) == ([2], ("Unknown", reason))
    assert condition(after, "Ready")["status"] == "True"

    more = cluster.change({"replicas": 3}).settle()
    assert (replicas(more), quota(more)) == ([2], ("False", reason))
    assert condition(more, "Stalled")["status"] == "True"


def test_an_engine_without_gpus_needs_no_quota() -> None:
    after = plan(observed(model_deployment({"resources": {"gpu": {"count": 0}}}), room=room(0)))

    assert replicas(after) == [2]


def test_kueue_admits_the_pods_of_new_deployments_and_no_label_of_a_live_one_changes() -> None:
    kueue = Room(tenant="team-ide", queue_name="gpus")
    cluster = Cluster(observed(room=kueue))
    after = cluster.settle()
    assert by_kind(after, "Deployment")[0]["metadata"]["labels"][KUEUE_QUEUE] == "gpus"
    assert KUEUE_QUEUE not in by_kind(after, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
    assert quota(after) == ("Unknown", Reason.KUEUE_ADMITS)

    without = cluster.change(room=Room()).settle()
    assert by_kind(without, "Deployment")[0]["metadata"]["labels"][KUEUE_QUEUE] == "gpus"


def rolling(most: int, held: int, **spec: Any) -> Scene:
    """A scene in which stable serves with as many GPUs as it holds, and a new checkpoint is asked for."""
    serving = scene()
    serving.edit({**NEW, **spec}, room=room(most, held=held))
    return serving


def test_a_rollout_takes_the_gpus_of_its_whole_way_when_it_begins() -> None:
    rolls = rolling(most=4, held=2)
    rolls.reach(lambda now: now.canary is not None, 30)

    assert rolls.plan.gpus.reserved.total == 4


def test_what_grows_before_another_one_shrinks_is_taken_too() -> None:
    cluster = Cluster(observed(room=room(4)))
    cluster.settle()
    [old] = revisions_of(cluster.seen).values()
    wanted = [(replace(old, name="0123456789"), 1), (old, 1)]
    pods = allot(cluster.seen, wanted)

    assert pods == {"0123456789": 1, old.name: 1}
    assert need_of(cluster.seen, wanted, pods, Gpus()).reserved.total == 3


def test_a_rollout_without_gpus_for_a_surge_swaps_pods_instead() -> None:
    rolls = rolling(most=3, held=2)
    rolls.reach(lambda now: now.canary is not None, 30)
    most = 0
    for _ in range(60):
        rolls.step()
        most = max(most, sum(replicas(rolls.plan)))

    assert most == 2
    assert rolls.plan.gpus.reserved.total == 2


def test_a_rollout_that_must_add_pods_waits_for_their_gpus_and_takes_nobodys_turn() -> None:
    rolls = rolling(most=3, held=2, rollout={"capacity": "Surge"})
    rolls.run(10)

    assert rolls.canary is None
    assert rolls.state == "Waiting"
    assert rolls.plan.status["rollout"]["reason"] == Reason.WAITING_FOR_QUOTA
    need = rolls.plan.gpus
    assert (need.reserved.total, need.wanted.total, need.unit) == (2, 4, 2)
    assert quota(rolls.plan) == ("False", Reason.WAITING_FOR_QUOTA)

    since = rolls.plan.status["rollout"]["startedAt"]
    rolls.run(10)
    assert rolls.plan.status["rollout"]["startedAt"] == since

    rolls.change(room=room(4, held=2))
    rolls.reach(lambda now: now.canary is not None, 30)


SYNTHESIS = QueueClass.parse({**queue_class().model_dump(by_alias=True), "metadata": {"name": "synthesis"}})
MOVED = {"queueClassName": "synthesis"}


def lanes(most: int, held: int = 0, **open_in: int) -> Room:
    """Room for one that has GPUs in the lane `completion`, with so many at the most in some lanes."""
    return replace(room(most, held), most=Limits(most, open_in), limit=Limits(16, {"synthesis": 4}))


def test_a_rollout_brings_no_gpus_into_a_lane_that_has_no_room_for_them() -> None:
    rolls = scene()
    rolls.edit(MOVED, queue_class=SYNTHESIS, room=lanes(4, 2, synthesis=1))
    rolls.run(10)
    assert rolls.plan.status["rollout"]["reason"] == Reason.WAITING_FOR_QUOTA
    said = condition(rolls.plan, "QuotaReserved")["message"]
    assert "0 of 2 GPUs in lane synthesis are reserved; position 1" in said
    assert rolls.plan.gpus.reserved == Gpus(2, {"completion": 2, "synthesis": 0})

    rolls.change(room=lanes(4, 2, synthesis=2))
    rolls.reach(lambda now: now.canary is not None, 30)
    assert rolls.plan.gpus.reserved == Gpus(4, {"completion": 2, "synthesis": 2})


def test_one_that_never_served_waits_for_another_lane_without_its_gpus() -> None:
    made = Cluster(observed(room=room(16)))
    made.broken.add(f"qwen-coder-{made.target}")
    made.tick()
    made.change(MOVED, queue_class=SYNTHESIS, room=lanes(2, 2, synthesis=0)).tick()
    after = made.settle()

    assert replicas(after) == [0]
    assert quota(after) == ("False", Reason.WAITING_FOR_QUOTA)
    assert (after.gpus.reserved.total, after.gpus.wanted) == (0, Gpus(2, {"synthesis": 2}))


def test_what_serves_grows_by_the_room_of_its_own_lane() -> None:
    made = Cluster(observed(room=room(16)))
    made.settle()
    after = made.change({**MOVED, "replicas": 4}, room=lanes(16, 2, completion=3, synthesis=0)).tick()

    assert replicas(after) == [3]


def test_a_rollout_back_in_place_finds_the_gpus_that_stable_gave_away() -> None:
    rolls = scene(policy=policy())
    rolls.edit(NEW, room=room(2, held=2))
    rolls.behaves(rolls.target, errors=0.9)
    rolls.reach(lambda now: bool(now.status.get("rejectedRevisions")), 300)
    reserved = []
    for _ in range(60):
        rolls.step()
        reserved.append(rolls.plan.gpus.reserved.total)

    assert set(reserved) == {2}
    assert replicas(rolls.plan) == [2]
