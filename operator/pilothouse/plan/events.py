"""Which Events a decision is worth: one when Ready changes its reason or an approval nears its end."""

from collections.abc import Iterable, Mapping, Sequence

from pilothouse.api.common import Condition
from pilothouse.names import ConditionType
from pilothouse.plan.conditions import Finding, finding_of
from pilothouse.plan.types import Event


def events_of(found: Sequence[Finding], before: Iterable[Condition]) -> tuple[Event, ...]:
    """Tell a change of Ready, a Warning where somebody has to act, and once that an approval ends soon."""
    known = {condition.type: condition.reason for condition in before}
    return (*_of_ready(found, known), *_of_expiry(found, known))


def _of_ready(found: Sequence[Finding], known: Mapping[str, str]) -> tuple[Event, ...]:
    ready = finding_of(found, ConditionType.READY)
    if known.get(ConditionType.READY) == ready.reason:
        return ()
    stalled = finding_of(found, ConditionType.STALLED).status
    return (Event("Warning" if stalled else "Normal", ready.reason, ready.message),)


def _of_expiry(found: Sequence[Finding], known: Mapping[str, str]) -> tuple[Event, ...]:
    if ConditionType.LICENSE_EXPIRING in known:
        return ()
    ending = (finding for finding in found if finding.type is ConditionType.LICENSE_EXPIRING)
    return tuple(Event("Warning", finding.reason, finding.message) for finding in ending)
