"""The status of an object that an older schema let in: it says what is wrong, and what serves goes on."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from pilothouse.api.common import Condition, FieldError
from pilothouse.names import ConditionType, Phase, Reason
from pilothouse.plan.conditions import as_conditions, fails, summary
from pilothouse.plan.events import events_of
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Plan

_CONDITIONS = TypeAdapter(tuple[Condition, ...])


def invalid(raw: Object, errors: Sequence[FieldError], now: datetime) -> Plan:
    """Plan for a ModelDeployment that does not parse: no object is applied, none is pruned."""
    status, generation = raw.get("status", {}), raw["metadata"].get("generation", 0)
    before = _conditions(status)
    message = "; ".join(f"{error.path}: {error.message}" for error in errors)
    accepted = fails(ConditionType.ACCEPTED, Reason.INVALID_SPEC, message)
    found = [accepted, *summary([accepted])]
    conditions = as_conditions(found, before, generation, now)
    after = {
        **status,
        "observedGeneration": generation,
        "phase": Phase.DEGRADED if status.get("stable") else Phase.PENDING,
        "conditions": [entry.model_dump(mode="json", by_alias=True) for entry in conditions],
    }
    return Plan(objects=(), prunes=(), status=after, events=events_of(found, before), requeue_after=None)


def _conditions(status: Object) -> tuple[Condition, ...]:
    try:
        return _CONDITIONS.validate_python(status.get("conditions", []))
    except ValidationError:
        return ()
