"""An object that an older schema let in: told by its field, and nothing that serves is touched."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from builders import NOW, Cluster, manifest
from pilothouse.api.common import field_errors
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.invalid import invalid
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Plan


def stored(status: Object | None = None) -> Object:
    """A ModelDeployment that does not hold to the schema."""
    raw = manifest({"model": {"checkpoint": {"revision": "main"}}}, generation=4)
    return {**raw, "status": status} if status is not None else raw


def decided(raw: Object, later: timedelta = timedelta()) -> Plan:
    """The plan for it."""
    with pytest.raises(ValidationError) as refused:
        ModelDeployment.parse(raw)
    return invalid(raw, field_errors(refused.value), NOW + later)


def said(after: Plan) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in after.status["conditions"]}


def test_the_field_is_named_in_the_condition() -> None:
    accepted, ready, *_ = decided(stored()).status["conditions"]

    assert accepted["message"].startswith("spec.model.checkpoint.revision: must be a commit of 40 hex digits")
    assert ready["message"] == accepted["message"]


def test_it_is_stalled_until_somebody_changes_it() -> None:
    assert said(decided(stored())) == {
        "Accepted": ("False", "InvalidSpec"),
        "Ready": ("False", "InvalidSpec"),
        "Reconciling": ("False", "InvalidSpec"),
        "Stalled": ("True", "InvalidSpec"),
    }


def test_no_child_is_touched() -> None:
    after = decided(stored(Cluster().settle().status))

    assert (after.objects, after.prunes, after.requeue_after) == ((), (), None)


def test_what_served_before_stays_in_the_status() -> None:
    before = Cluster().settle().status
    after = decided(stored(before)).status

    assert after["stable"] == before["stable"]
    assert after["history"] == before["history"]
    assert after["phase"] == "Degraded"


def test_what_never_ran_is_pending() -> None:
    assert decided(stored()).status["phase"] == "Pending"


def test_the_status_speaks_of_the_generation_that_was_seen() -> None:
    after = decided(stored()).status

    assert after["observedGeneration"] == 4
    assert {entry["observedGeneration"] for entry in after["conditions"]} == {4}


def test_it_is_told_once() -> None:
    first = decided(stored())
    again = decided(stored(first.status), later=timedelta(hours=1))

    assert [(event.type, event.reason) for event in first.events] == [("Warning", "InvalidSpec")]
    assert again.events == ()
    assert again.status == first.status


def test_conditions_that_can_not_be_read_are_written_anew() -> None:
    after = decided(stored({"conditions": [{"type": "Ready"}]}))

    assert said(after)["Ready"] == ("False", "InvalidSpec")
