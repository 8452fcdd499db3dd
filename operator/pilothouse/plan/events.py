"""Which Events a decision is worth: one when Ready changes its reason, none while it stays."""

from collections.abc import Iterable, Sequence

from pilothouse.api.common import Condition
from pilothouse.names import ConditionType
from pilothouse.plan.conditions import Finding, finding_of
from pilothouse.plan.types import Event


def events_of(found: Sequence[Finding], before: Iterable[Condition]) -> tuple[Event, ...]:
    """Tell a change of Ready; a Warning where somebody has to act."""
    ready = finding_of(found, ConditionType.READY)
    known = {condition.type: condition.reason for condition in before}
    if known.get(ConditionType.READY) == ready.reason:
        return ()
    stalled = finding_of(found, ConditionType.STALLED).status
    return (Event("Warning" if stalled else "Normal", ready.reason, ready.message),)
