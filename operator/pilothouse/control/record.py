"""Puts a decision on record before it is carried out.

The status is written at the very version that the decision was made from, so that of two operators, or of one
and its restart, only one makes it. What was on record is not decided again; what was not never happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pilothouse.act.kube import Kube
from pilothouse.act.status import write_status
from pilothouse.errors import NotFound, Outdated, PilothouseError, Retryable
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Event, Plan
from pilothouse.telemetry.logging import get_logger
from pilothouse.telemetry.metrics import ROLLBACKS, UNRECORDED_ROLLBACKS

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of it: the object as it is now, the Events to post, and the error of a write that failed."""

    live: Object
    events: tuple[Event, ...] = ()
    failure: Retryable | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Writes decisions; `upsert` takes each answer."""

    kube: Kube
    upsert: Callable[[Object], object]

    async def __call__(self, live: Object, plan: Plan) -> Recorded:
        """Write the plan's status; `live` is what the decision was made from.

        Raises Outdated where the object has changed since, and any other error but for a rollback: traffic
        leaves a bad revision even while no status can be written.
        """
        rollback = rollback_of(live, plan)
        try:
            answer = await write_status(self.kube, live, plan.status)
        except (Outdated, NotFound):
            raise
        except PilothouseError as error:
            if not rollback:
                raise
            return _unrecorded(live, rollback, error)
        if answer is None:
            return Recorded(live)
        self.upsert(answer)
        if rollback:
            ROLLBACKS.labels(rollback["reason"]).inc()
            _log.warning("Rolling back", reason=rollback["reason"], revision=rollback["fromRevision"])
        return Recorded(answer, plan.events)


def _unrecorded(live: Object, rollback: Object, error: PilothouseError) -> Recorded:
    UNRECORDED_ROLLBACKS.inc()
    _log.error("Rolling back without a record of it", reason=rollback["reason"], error=str(error))
    return Recorded(live, failure=Retryable(f"the rollback is not on record: {error}"))


def rollback_of(live: Object, plan: Plan) -> Object | None:
    """Return the rollback that the plan begins, as the status tells it."""
    before = (live.get("status") or {}).get("lastRollback") or {}
    after: Object | None = plan.status.get("lastRollback")
    return after if after and after["startedAt"] != before.get("startedAt") else None
