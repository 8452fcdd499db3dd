"""One ModelDeployment, looked at once: observe, plan, act, say.

A decision that must not be made twice is put on record before it is carried out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from pilothouse.act.apply import Applied, Apply
from pilothouse.act.events import Events
from pilothouse.act.kube import Kube
from pilothouse.act.status import write_status
from pilothouse.api.common import FieldError, field_errors
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.control.queue import SETTLE_SECONDS, Priority
from pilothouse.control.record import Record, Recorded
from pilothouse.observe.gather import Gather
from pilothouse.observe.store import Store
from pilothouse.observe.targets import rolls_out
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.types import Event, Plan
from pilothouse.telemetry.modelinfo import Models


@dataclass(frozen=True, slots=True)
class Decisions:
    """The pure functions that decide."""

    plan: Callable[[Observed], Plan]
    invalid: Callable[[Object, tuple[FieldError, ...], datetime], Plan]


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Brings one ModelDeployment closer to what it declares."""

    store: Store
    gather: Gather
    decide: Decisions
    record: Record
    apply: Apply
    kube: Kube
    events: Events
    models: Models
    gpus: GpuLedger

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Reconcile; raises what stood in the way."""
        live = self.store.live(key)
        if live is None:
            self.models.show(key, ())
        # What is being deleted gets nothing new: its children would hold up the deletion.
        if live is None or live["metadata"].get("deletionTimestamp"):
            self.gpus.forget(key)
            return DONE
        return await self._decide(live)

    async def _decide(self, live: Object) -> Outcome:
        try:
            observed = await self.gather(live)
        except ValidationError as error:
            self.gpus.take(key_of(live), GpuNeed())
            await self._say(live, self.decide.invalid(live, field_errors(error), self.gather.now()))
            return Outcome(Result.GIVE_UP)
        observed, plan = self._admitted(observed, key_of(live))
        recorded = await self.record(live, plan) if plan.commits else Recorded(live)
        return await self._carry_out(recorded, observed, plan)

    def _admitted(self, observed: Observed, key: ObjectKey) -> tuple[Observed, Plan]:
        """Decide within the quota; nothing else runs between the look at it and the note of what is taken."""
        observed = replace(observed, room=self.gpus.room(key))
        plan = self.decide.plan(observed)
        self.gpus.take(key, plan.gpus)
        return observed, plan

    async def _carry_out(self, recorded: Recorded, observed: Observed, plan: Plan) -> Outcome:
        try:
            applied = await self.apply(plan, observed.children)
        finally:
            # After the objects, so that telling holds up no rollback, and even if one of them failed.
            await self._tell(recorded.live, recorded.events)
        if recorded.failure:
            raise recorded.failure
        if applied.refusals:
            again = self.decide.plan(_after(observed, applied))
            await self._say(recorded.live, _without_events(again, recorded.events))
            return Outcome(Result.RETRY)
        priority = Priority.CHANGE if rolls_out(observed.deployment) else Priority.ROUTINE
        if applied.changed:
            # Children first, for all that wait: the status is told when what was changed has settled.
            return Outcome(Result.AGAIN, SETTLE_SECONDS, priority)
        await self._say(recorded.live, plan)
        if plan.requeue_after is None:
            return DONE
        return Outcome(Result.AGAIN, plan.requeue_after.total_seconds(), priority)

    async def _say(self, live: Object, plan: Plan) -> None:
        """Write the status if it is news, and post Events only with it: otherwise both are tried again."""
        answer = await write_status(self.kube, live, plan.status)
        if plan.serves is not None:
            self.models.show(key_of(live), plan.serves)
        if answer is None:
            return
        self.store.upsert(answer)
        await self._tell(live, plan.events)

    async def _tell(self, live: Object, events: tuple[Event, ...]) -> None:
        for event in events:
            await self.events.post(live, event)


def _after(observed: Observed, applied: Applied) -> Observed:
    """Return what is observed once the plan was carried out."""
    return replace(observed, children={**observed.children, **applied.changed}, refusals=applied.refusals)


def _without_events(plan: Plan, posted: tuple[Event, ...]) -> Plan:
    return replace(plan, events=tuple(event for event in plan.events if event not in posted))
