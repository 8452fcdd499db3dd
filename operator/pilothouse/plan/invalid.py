"""The status of an object that an older schema let in: it says what is wrong, and what serves goes on."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from pilothouse.api.common import Condition, FieldError
from pilothouse.names import ConditionType, Phase, Reason
from pilothouse.plan.conditions import as_conditions, fails, summary
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Event, Plan

_CONDITIONS = TypeAdapter(tuple[Condition, ...])


def invalid(raw: Object, errors: Sequence[FieldError], now: datetime) -> Plan:
    """Plan for a ModelDeployment that does not parse: no object is applied, none is pruned."""
    message = "; ".join(f"{error.path}: {error.message}" for error in errors)
    accepted = fails(ConditionType.ACCEPTED, Reason.INVALID_SPEC, message)
    before = _conditions(raw)
    generation = raw["metadata"].get("generation", 0)
    found = as_conditions([accepted, *summary([accepted])], before, generation, now)
    status = {
        **raw.get("status", {}),
        "observedGeneration": generation,
        "phase": Phase.DEGRADED,
        "conditions": [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in found],
    }
    known = any(
        entry.type == ConditionType.ACCEPTED and entry.reason == Reason.INVALID_SPEC for entry in before
    )
    events = () if known else (Event("Warning", Reason.INVALID_SPEC, message),)
    return Plan(objects=(), prunes=(), status=status, events=events, requeue_after=None)


def _conditions(raw: Object) -> tuple[Condition, ...]:
    try:
        return _CONDITIONS.validate_python(raw.get("status", {}).get("conditions", []))
    except ValidationError:
        return ()
