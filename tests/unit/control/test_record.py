"""Decisions that must be on record before they are carried out."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import manifest
from fake_kube import FakeKube
from fake_looks import BARE, NO_LOOKS, none_reachable
from pilothouse.act.apply import Apply
from pilothouse.act.events import Events
from pilothouse.control.controllers import Controllers
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.control.queue import Priority
from pilothouse.control.reconcile import Decisions, Reconcile
from pilothouse.control.record import Record
from pilothouse.errors import NotFound, PilothouseError, Retryable, Terminal
from pilothouse.names import Reason
from pilothouse.observe.gather import Gather
from pilothouse.observe.store import Store
from pilothouse.plan.invalid import invalid
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.types import Event, Plan
from pilothouse.telemetry import metrics
from pilothouse.telemetry.modelinfo import Models

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
ROUTE: Object = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {
        "name": "qwen-coder",
        "namespace": "team-ide",
        "labels": {"pilothouse.dev/deployment": "qwen-coder"},
        "ownerReferences": [{"uid": "u1", "controller": True}],
    },
    "spec": {},
}
SAMPLED: Object = {"rollout": {"state": "Holding"}}
ROLLED_BACK: Object = {
    "lastRollback": {
        "fromRevision": "b",
        "toRevision": "a",
        "reason": "ErrorStorm",
        "startedAt": "2026-11-24T00:00:00Z",
    }
}
TOLD = Event("Warning", Reason.ERROR_STORM, "answered with errors")


def deciding(status: Object, **more: Any) -> Plan:
    """A plan that must be on record before it is carried out."""
    plan = Plan(objects=(ROUTE,), prunes=(), status=status, events=(TOLD,), requeue_after=None, commits=True)
    return replace(plan, **more)


class World:
    """The ModelDeployment `qwen-coder`, and a planner that is told its answer."""

    def __init__(self) -> None:
        self.kube, self.store = FakeKube(), Store()
        self.store.upsert(self.kube.put(manifest()))
        self.plan = deciding(SAMPLED)
        self.refused: Plan | None = None
        self.while_deciding: Any = lambda: None

    async def reconcile(self) -> Outcome:
        """Reconcile once."""
        reconcile = Reconcile(
            store=self.store,
            gather=Gather(self.store, self._no_pods, none_reachable, NO_LOOKS, BARE, lambda: NOW),
            decide=Decisions(self._plan, invalid),
            record=Record(self.kube, self.store.upsert),
            apply=Apply(self.kube, self.store.upsert),
            kube=self.kube,
            events=Events(self.kube, "test", lambda: NOW),
            models=Models(),
            gpus=GpuLedger(self.store),
        )
        return await Controllers(self.store, self.kube, {KEY.kind: reconcile})(KEY)

    def fail(self, error: PilothouseError, *verbs: str) -> None:
        """Let the API server answer these verbs with an error."""

        def before(verb: str, _: ObjectKey) -> None:
            if verb in verbs:
                raise error

        self.kube.before = before

    @property
    def asked(self) -> list[tuple[str, str]]:
        """What was asked of the API server, in order: verb and kind."""
        return [(verb, key.kind) for verb, key in self.kube.requests]

    @property
    def status(self) -> Object:
        """The status in the cluster."""
        status: Object = self.kube.objects[KEY].get("status", {})
        return status

    async def _no_pods(self, _: ObjectKey) -> list[Object]:
        return []

    def _plan(self, observed: Observed) -> Plan:
        self.while_deciding()
        return self.refused if self.refused and observed.refusals else self.plan


@pytest.fixture
def world() -> World:
    return World()


ANEW = Outcome(Result.AGAIN, priority=Priority.CHANGE)
STATUS, APPLY, EVENT = ("patch_status", "ModelDeployment"), ("apply", "HTTPRoute"), ("create", "Event")


async def test_a_decision_is_on_record_before_it_is_carried_out_and_told_afterwards(world: World) -> None:
    outcome = await world.reconcile()
    assert world.asked == [STATUS, APPLY, EVENT]
    assert outcome.result is Result.AGAIN


async def test_a_decision_that_is_carried_out_already_ends_as_any_other(world: World) -> None:
    await world.reconcile()
    assert await world.reconcile() == DONE
    assert world.asked == [STATUS, APPLY, EVENT]


async def test_a_decision_from_what_has_changed_since_is_dropped_and_made_anew_at_once(world: World) -> None:
    world.kube.put({**manifest({"replicas": 3}), "status": {"phase": "Ready"}})
    assert await world.reconcile() == ANEW
    assert world.status == {"phase": "Ready"}
    assert APPLY not in world.asked
    await world.reconcile()
    assert world.status == SAMPLED
    assert APPLY in world.asked


async def test_a_change_that_comes_in_while_it_is_decided_is_not_overwritten(world: World) -> None:
    def edit() -> None:
        world.store.upsert(world.kube.put(manifest({"replicas": 3})))
        world.while_deciding = lambda: None

    world.while_deciding = edit
    assert await world.reconcile() == ANEW
    assert world.status == {}


async def test_no_status_is_written_over_a_change_that_was_not_seen(world: World) -> None:
    world.plan = deciding({"phase": "Ready"}, objects=(), commits=False)
    world.kube.put(manifest({"replicas": 3}))
    assert await world.reconcile() == ANEW
    assert world.status == {}
    await world.reconcile()
    assert world.status == {"phase": "Ready"}


async def test_what_is_gone_gets_no_objects(world: World) -> None:
    world.plan = deciding(ROLLED_BACK)
    world.fail(NotFound("gone"), "patch_status")
    assert await world.reconcile() == DONE
    assert world.asked == [STATUS]


@pytest.mark.parametrize("error", [Retryable("timeout"), Terminal("too large")])
async def test_a_rollback_does_not_wait_for_its_record_and_tries_for_it_again(
    world: World, error: PilothouseError
) -> None:
    world.plan = deciding(ROLLED_BACK)
    world.fail(error, "patch_status")
    assert (await world.reconcile()).result is Result.RETRY
    assert world.asked == [STATUS, APPLY]


async def test_any_other_decision_waits_for_its_record(world: World) -> None:
    world.fail(Retryable("timeout"), "patch_status")
    assert (await world.reconcile()).result is Result.RETRY
    assert world.asked == [STATUS]


async def test_a_rollback_is_counted_once_by_reason(world: World) -> None:
    counted = metrics.ROLLBACKS.labels("ErrorStorm")._value  # noqa: SLF001 -- not public otherwise
    before = counted.get()
    world.plan = deciding(ROLLED_BACK)
    world.fail(Retryable("timeout"), "patch_status")
    await world.reconcile()
    world.kube.before = lambda _, __: None
    await world.reconcile()
    await world.reconcile()
    assert counted.get() == before + 1


async def test_a_rollback_does_not_suffer_from_an_event_that_cannot_be_posted(world: World) -> None:
    world.plan = deciding(ROLLED_BACK)
    world.fail(Retryable("timeout"), "create")
    assert (await world.reconcile()).result is Result.AGAIN
    assert world.asked == [STATUS, APPLY, EVENT]


async def test_a_decision_is_told_even_if_it_cannot_be_carried_out_yet(world: World) -> None:
    world.fail(Retryable("timeout"), "apply")
    assert (await world.reconcile()).result is Result.RETRY
    assert world.asked == [STATUS, APPLY, EVENT]


async def test_a_refusal_after_the_record_is_told_beside_it_and_the_decision_not_again(world: World) -> None:
    refusal = Event("Warning", Reason.APPLY_REFUSED, "no")
    world.refused = deciding({**SAMPLED, "phase": "Degraded"}, events=(TOLD, refusal))
    world.fail(Terminal("no"), "apply")
    assert (await world.reconcile()).result is Result.RETRY
    assert world.asked == [STATUS, APPLY, EVENT, STATUS, EVENT]
    assert world.status == {**SAMPLED, "phase": "Degraded"}
    assert [body["reason"] for body in world.kube.bodies if body.get("kind") == "Event"] == [
        TOLD.reason,
        refusal.reason,
    ]
