"""Whether a rollout may begin as far as others go. C8 is an acceptance scenario."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, model_deployment, observed, queue_class
from pilothouse.names import Reason
from pilothouse.plan.fleet import SETTLED, gate, own_entry
from pilothouse.plan.peers import CheckpointKey, FailedCheckpoint, Peer

CHECKPOINT = CheckpointKey("hf://Qwen/Qwen2.5-Coder-7B-Instruct", "c03e6d3")
OTHER = CheckpointKey("hf://Qwen/Qwen2.5-Coder-7B-Instruct", "0396a76")
LONG_AGO = NOW - timedelta(minutes=5)
POLICY = "careful"


def peer(name: str, *, policy: str = POLICY, priority: int = 0, **fields: object) -> Peer:
    return replace(Peer("team-ide", name, policy, priority), **fields)  # type: ignore[arg-type]


def failed(name: str, reason: Reason, checkpoint: CheckpointKey = CHECKPOINT, policy: str = POLICY) -> Peer:
    return peer(name, policy=policy, failed=(FailedCheckpoint(checkpoint, reason),))


def reason(me: Peer, *peers: Peer, limit: int = 1, checkpoint: CheckpointKey | None = CHECKPOINT) -> str:
    cause = gate(me, peers, limit, checkpoint, NOW)
    return cause.reason if cause else ""


def message(me: Peer, *peers: Peer, limit: int = 1) -> str:
    cause = gate(me, peers, limit, CHECKPOINT, NOW)
    assert cause
    return cause.message


ME = peer("me", queued_since=LONG_AGO)


# A checkpoint that failed elsewhere


def test_a_checkpoint_that_failed_elsewhere_is_held_with_the_place_named() -> None:
    said = message(ME, failed("sql", Reason.CHECK_FAILED))

    assert reason(ME, failed("sql", Reason.CHECK_FAILED)) == "SiblingFailed"
    assert said.startswith(
        "hf://Qwen/Qwen2.5-Coder-7B-Instruct at c03e6d3 was rolled back in team-ide/sql: CheckFailed"
    )


def test_it_is_held_whatever_policy_the_other_follows() -> None:
    assert reason(ME, failed("sql", Reason.CHECK_FAILED, policy="")) == "SiblingFailed"


@pytest.mark.parametrize("word", [Reason.ABORTED, Reason.WITHDRAWN])
def test_an_end_that_says_nothing_of_the_checkpoint_holds_nobody(word: Reason) -> None:
    assert reason(ME, failed("sql", word)) == ""


def test_another_revision_of_the_checkpoint_holds_nobody() -> None:
    assert reason(ME, failed("sql", Reason.CHECK_FAILED, OTHER)) == ""


def test_a_person_may_want_it_tried_all_the_same() -> None:
    assert reason(ME, failed("sql", Reason.CHECK_FAILED), checkpoint=None) == ""


def test_the_first_by_name_is_named_whatever_the_order() -> None:
    peers = [failed("b", Reason.CHECK_FAILED), failed("a", Reason.ERROR_STORM)]

    assert message(ME, *peers) == message(ME, *reversed(peers))
    assert "team-ide/a: ErrorStorm" in message(ME, *peers)


def test_a_failure_elsewhere_is_said_before_the_queue() -> None:
    assert reason(ME, peer("x", rolls_out=True), failed("sql", Reason.CHECK_FAILED)) == "SiblingFailed"


# The queue


def test_alone_one_begins_at_once() -> None:
    assert reason(replace(ME, queued_since=NOW)) == ""


def test_nobody_begins_unseen() -> None:
    assert reason(replace(ME, queued_since=None)) == "RolloutQueued"


def test_c8_as_many_roll_out_as_the_policy_allows() -> None:
    rolling = [peer("a", rolls_out=True), peer("b", rolls_out=True)]

    assert reason(ME, *rolling, limit=2) == "RolloutQueued"
    assert message(ME, *rolling, limit=2) == (
        "position 1 in the queue; 2 of 2 roll out: team-ide/a, team-ide/b"
    )
    assert reason(ME, *rolling, limit=3) == ""


def test_other_policies_count_apart() -> None:
    assert reason(ME, peer("a", policy="", rolls_out=True)) == ""


def test_c8_the_higher_lane_goes_first() -> None:
    later = peer("z", priority=1000, queued_since=NOW - SETTLED)

    assert reason(ME, later) == "RolloutQueued"
    assert reason(later, ME) == ""


def test_in_a_lane_the_longest_wait_goes_first() -> None:
    longer = peer("z", queued_since=LONG_AGO - timedelta(seconds=1))

    assert reason(ME, longer) == "RolloutQueued"
    assert reason(longer, ME) == ""


def test_a_new_one_overtakes_nobody_whose_start_may_be_under_way() -> None:
    new = peer("a", priority=1000, queued_since=NOW)

    assert reason(new, ME) == "RolloutQueued"
    assert reason(new, ME, limit=2) == ""


def test_a_long_queue_is_said_shortly() -> None:
    rolling = [peer(f"m{number}", rolls_out=True) for number in range(40)]

    assert message(ME, *rolling, limit=40).endswith("team-ide/m12 and 35 more")


def test_more_than_allowed_roll_out_after_the_limit_was_lowered() -> None:
    rolling = [peer("a", rolls_out=True), peer("b", rolls_out=True)]

    assert reason(ME, *rolling, limit=1) == "RolloutQueued"


# Oneself


def test_ones_own_entry_is_what_the_others_see() -> None:
    waiting = {"state": "Waiting", "reason": "RolloutQueued", "startedAt": LONG_AGO}
    deployment = model_deployment({"rollout": {"policyName": POLICY}}, {"rollout": waiting})
    seen = observed(deployment, queue_class=queue_class({"priority": 7}))

    assert own_entry(seen) == Peer("team-ide", "qwen-coder", POLICY, 7, queued_since=LONG_AGO)


@pytest.mark.parametrize(
    "rollout",
    [None, {"state": "Waiting", "reason": "SiblingFailed", "startedAt": LONG_AGO}, {"state": "Holding"}],
)
def test_who_waits_for_something_else_stands_in_no_queue(rollout: dict[str, object] | None) -> None:
    deployment = model_deployment(status={"rollout": rollout} if rollout else {})

    assert own_entry(observed(deployment)).queued_since is None


def test_without_a_lane_one_waits_at_the_end() -> None:
    assert own_entry(observed(queue_class=None)).priority == 0


# Many reconciles at once


@dataclass
class Fleet:
    """Models of one policy in a view that they share; a decision becomes visible some time after it is made.

    What a reconcile decides is written at its end, and the view may have changed since its beginning.
    """

    limit: int
    view: dict[str, Peer]
    now: datetime

    def decide(self, name: str) -> Peer:
        me = self.view[name]
        if me.rolls_out:
            return me
        others = [other for other in self.view.values() if other is not me]
        if gate(me, others, self.limit, CHECKPOINT, self.now) is None:
            return replace(me, queued_since=None, rolls_out=True)
        return replace(me, queued_since=me.queued_since or self.now)

    @property
    def rolling(self) -> int:
        return sum(model.rolls_out for model in self.view.values())


@given(
    count=st.integers(1, 12),
    limit=st.integers(1, 4),
    order=st.randoms(),
    delay=st.timedeltas(timedelta(), SETTLED - timedelta(milliseconds=1)),
)
def test_c8_never_more_than_the_limit_roll_out_whatever_the_order_of_reconciles(
    count: int, limit: int, order: random.Random, delay: timedelta
) -> None:
    names = [f"m{number}" for number in range(count)]
    fleet = Fleet(limit, {name: peer(name, priority=order.randrange(3)) for name in names}, NOW)
    in_flight: list[tuple[datetime, Peer]] = []
    for _ in range(60):
        fleet.now += timedelta(milliseconds=order.randrange(500))
        landed = [decided for due, decided in in_flight if due <= fleet.now]
        in_flight = [(due, decided) for due, decided in in_flight if due > fleet.now]
        fleet.view |= {decided.name: decided for decided in landed}
        assert fleet.rolling <= limit
        busy = {decided.name for _, decided in in_flight}
        idle = [name for name in names if name not in busy]
        for name in order.sample(idle, k=order.randrange(len(idle) + 1)):
            in_flight.append((fleet.now + delay * order.random(), fleet.decide(name)))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12), st.integers(1, 4))
def test_c8_all_get_their_turn_by_lane_then_by_age(waiting: list[tuple[int, int]], limit: int) -> None:
    view = {
        f"m{number:02}": peer(f"m{number:02}", priority=lane, queued_since=LONG_AGO + timedelta(seconds=age))
        for number, (lane, age) in enumerate(waiting)
    }
    turns: list[Peer] = []
    while view:
        fleet = Fleet(limit, dict(view), NOW)
        started = [name for name in view if fleet.decide(name).rolls_out]
        assert len(started) == min(limit, len(view))
        turns += sorted((view.pop(name) for name in started), key=_turn)
    assert turns == sorted(turns, key=_turn)


def _turn(model: Peer) -> tuple[int, datetime, str]:
    return (-model.priority, model.queued_since or datetime.max.replace(tzinfo=UTC), model.name)
