"""Events: a change of Ready is told once, as a Warning where somebody has to act."""

import pytest

from builders import NOW
from pilothouse.names import ConditionType, Reason
from pilothouse.plan.conditions import Finding, as_conditions, fails, holds, summary
from pilothouse.plan.events import events_of
from pilothouse.plan.types import Event

READY = holds(ConditionType.WORKLOAD_READY, Reason.READY, "2 of 2 pods are ready")
STARTING = fails(ConditionType.WORKLOAD_READY, Reason.STARTING, "0 of 2")
CRASHED = fails(ConditionType.WORKLOAD_READY, Reason.ENGINE_CRASHED, "code 1")


def told(after: Finding, before: Finding | None = None) -> tuple[Event, ...]:
    """Events when this part follows that one."""
    known = as_conditions(summary([before]), (), 1, NOW) if before else ()
    return events_of(summary([after]), known)


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        (None, STARTING, Event("Normal", Reason.STARTING, "0 of 2")),
        (STARTING, READY, Event("Normal", Reason.READY, "2 of 2 pods are ready")),
        (READY, CRASHED, Event("Warning", Reason.ENGINE_CRASHED, "code 1")),
        (STARTING, CRASHED, Event("Warning", Reason.ENGINE_CRASHED, "code 1")),
    ],
)
def test_a_new_reason_of_ready_is_told(before: Finding | None, after: Finding, event: Event) -> None:
    assert told(after, before) == (event,)


@pytest.mark.parametrize("part", [READY, STARTING, CRASHED])
def test_what_is_known_is_not_told_again(part: Finding) -> None:
    assert told(part, part) == ()


def test_another_message_of_the_same_reason_is_no_event() -> None:
    assert told(fails(ConditionType.WORKLOAD_READY, Reason.STARTING, "1 of 2"), STARTING) == ()
