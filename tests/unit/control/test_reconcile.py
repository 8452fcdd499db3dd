import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders import manifest
from fake_kube import FakeKube
from fake_looks import BARE, NO_LOOKS, none_reachable
from pilothouse.act.apply import Apply
from pilothouse.act.events import Events
from pilothouse.api.common import FieldError
from pilothouse.control.controllers import Controllers
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.control.queue import Priority
from pilothouse.control.reconcile import Decisions, Reconcile
from pilothouse.control.record import Record
from pilothouse.errors import NamespaceTerminating, Retryable, Terminal
from pilothouse.names import Reason
from pilothouse.observe.gather import Gather
from pilothouse.observe.store import Store
from pilothouse.plan.modelinfo import ModelInfo
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.types import Event, Plan
from pilothouse.telemetry import logging
from pilothouse.telemetry.metrics import REGISTRY
from pilothouse.telemetry.modelinfo import Models

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
CHILD = ObjectKey("Service", "team-ide", "qwen-coder")


INFO = ModelInfo(
    namespace="team-ide",
    deployment="qwen-coder",
    model="qwen2.5-coder-7b",
    revision="7f3a9c1d20",
    state="stable",
    checkpoint="hf://Qwen/Qwen2.5-Coder-7B-Instruct",
    checkpoint_revision="c03e6d358207e414f1eca0bb1891e29f1db0e242",
    tokenizer_revision="c03e6d358207e414f1eca0bb1891e29f1db0e242",
    license_id="Apache-2.0",
    queue_class="completion",
)


def told(revision: str) -> float | None:
    """Return what a scrape says of a revision."""
    return REGISTRY.get_sample_value("pilothouse_model_info", INFO._replace(revision=revision)._asdict())


@dataclass
class World:
    """One ModelDeployment `qwen-coder`, a planner that is told its answer, and what was sent."""

    plan: Plan = field(default_factory=lambda: planned())  # noqa: PLW0108 -- defined below
    kube: FakeKube = field(default_factory=FakeKube)
    store: Store = field(default_factory=Store)
    observed: list[Observed] = field(default_factory=list)
    models: Models = field(default_factory=Models)

    def declare(self, obj: Object) -> None:
        """Put an object into the cluster and into the Store."""
        self.store.upsert(self.kube.put(obj))

    async def reconcile(self) -> Outcome:
        """Reconcile `qwen-coder` once."""
        reconcile = Reconcile(
            store=self.store,
            gather=Gather(self.store, self._no_pods, none_reachable, NO_LOOKS, BARE, lambda: NOW),
            decide=Decisions(self._plan, self._invalid),
            record=Record(self.kube, self.store.upsert),
            apply=Apply(self.kube, self.store.upsert),
            kube=self.kube,
            events=Events(self.kube, "test", lambda: NOW),
            models=self.models,
            gpus=GpuLedger(self.store),
        )
        return await Controllers(self.store, self.kube, {KEY.kind: reconcile})(KEY)

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What was asked of the API server: verb and kind."""
        return [(verb, key.kind) for verb, key in self.kube.requests]

    async def _no_pods(self, _: ObjectKey) -> list[Object]:
        return []

    def _plan(self, observed: Observed) -> Plan:
        self.observed.append(observed)
        if observed.refusals:
            return planned(status={"refused": dict(enumerate(observed.refusals.values()))})
        return self.plan

    def _invalid(self, _: Object, errors: tuple[FieldError, ...], __: datetime) -> Plan:
        return planned(status={"invalid": [error.path for error in errors]})


def planned(*objects: Object, status: Object | None = None, **more: Any) -> Plan:
    """Build a Plan."""
    defaults: dict[str, Any] = {"prunes": (), "events": (), "requeue_after": None}
    return Plan(objects=objects, status=status or {}, **{**defaults, **more})


def service(**spec: object) -> Object:
    """Build the child that plans of this test ask for."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "qwen-coder",
            "namespace": "team-ide",
            "labels": {"pilothouse.dev/deployment": "qwen-coder"},
            "ownerReferences": [{"uid": "u1", "controller": True}],
        },
        "spec": spec,
    }


@pytest.fixture
def world() -> World:
    world = World()
    world.declare(manifest())
    return world


async def test_what_does_not_exist_costs_nothing() -> None:
    world = World()
    assert await world.reconcile() == DONE
    assert world.writes == []


async def test_what_is_being_deleted_gets_no_children() -> None:
    world = World(plan=planned(service()))
    world.declare(manifest(deletionTimestamp="2026-11-23T00:00:00Z"))
    assert await world.reconcile() == DONE
    assert world.writes == []


async def test_children_come_first_and_the_status_when_they_have_settled(world: World) -> None:
    world.plan = planned(service(), status={"phase": "Starting"})
    first = await world.reconcile()
    assert first.result is Result.AGAIN
    assert world.writes == [("apply", "Service")]
    assert await world.reconcile() == DONE
    assert world.writes == [("apply", "Service"), ("patch_status", "ModelDeployment")]


async def test_nothing_is_written_when_all_is_as_planned(world: World) -> None:
    world.plan = planned(service(), status={"phase": "Starting"})
    await world.reconcile()
    await world.reconcile()
    world.kube.requests.clear()
    assert await world.reconcile() == DONE
    assert world.writes == []


async def test_a_plan_says_when_to_come_back(world: World) -> None:
    world.plan = planned(requeue_after=timedelta(seconds=30))
    assert await world.reconcile() == Outcome(Result.AGAIN, 30.0)


async def test_a_canary_is_looked_at_again_before_what_is_routine(world: World) -> None:
    canary = {"canary": {"revision": "b"}, "rollout": {"state": "Holding"}}
    world.declare({**manifest(), "status": canary})
    world.plan = planned(status=canary, requeue_after=timedelta(seconds=1))
    assert await world.reconcile() == Outcome(Result.AGAIN, 1.0, Priority.CHANGE)


async def test_what_runs_is_told_by_a_metric_until_the_model_is_gone(world: World) -> None:
    world.plan = planned(serves=(INFO,))
    await world.reconcile()
    assert told("7f3a9c1d20") == 1

    world.store.evict(KEY, 1_000)
    await world.reconcile()
    assert told("7f3a9c1d20") is None


async def test_a_spec_that_can_not_be_read_leaves_the_metric_as_it_is(world: World) -> None:
    world.plan = planned(serves=(INFO,))
    await world.reconcile()
    world.declare(manifest({"replicas": "many"}))
    await world.reconcile()

    assert told("7f3a9c1d20") == 1
    world.models.clear()


async def test_a_refusal_is_in_the_status_and_tried_again(world: World) -> None:
    world.plan = planned(service())

    def refuse(verb: str, _: ObjectKey) -> None:
        if verb == "apply":
            raise Terminal("spec.ports: too many")

    world.kube.before = refuse
    assert (await world.reconcile()).result is Result.RETRY
    assert world.kube.objects[KEY]["status"] == {"refused": {0: "spec.ports: too many"}}


async def test_a_refusal_of_one_child_does_not_stop_the_others(world: World) -> None:
    other = service()
    other["metadata"] = {**other["metadata"], "name": "other"}
    world.plan = planned(service(), other)

    def refuse(verb: str, key: ObjectKey) -> None:
        if (verb, key) == ("apply", CHILD):
            raise Terminal("no")

    world.kube.before = refuse
    await world.reconcile()
    assert world.kube.objects.keys() >= {ObjectKey("Service", "team-ide", "other")}


async def test_a_namespace_that_goes_away_is_no_refusal(world: World) -> None:
    world.plan = planned(service(), status={"phase": "Starting"})

    def refuse(verb: str, _: ObjectKey) -> None:
        if verb == "apply":
            raise NamespaceTerminating("being terminated")

    world.kube.before = refuse
    assert await world.reconcile() == DONE
    assert [observed.refusals for observed in world.observed] == [{}]


async def test_an_object_that_does_not_parse_says_so_and_its_children_stay(world: World) -> None:
    world.declare(service())
    world.declare(manifest({"replicas": -1}))
    assert (await world.reconcile()).result is Result.GIVE_UP
    assert world.kube.objects[KEY]["status"] == {"invalid": ["spec.replicas"]}
    assert CHILD in world.kube.objects


async def test_events_come_with_the_status_that_they_tell_of(world: World) -> None:
    world.plan = planned(status={"phase": "Ready"}, events=(Event("Normal", Reason.READY, "serves"),))
    await world.reconcile()
    await world.reconcile()
    assert world.writes == [("patch_status", "ModelDeployment"), ("create", "Event")]


async def test_no_event_is_posted_for_a_status_that_was_not_written(world: World) -> None:
    world.plan = planned(status={"phase": "Ready"}, events=(Event("Normal", Reason.READY, "serves"),))
    world.kube.before = _raise(Retryable("timeout"))
    await world.reconcile()
    assert world.writes == [("patch_status", "ModelDeployment")]


async def test_an_api_server_that_is_busy_is_asked_again_when_it_says(world: World) -> None:
    world.plan = planned(service())
    world.kube.before = _raise(Retryable("slow down", retry_after=9.0))
    assert await world.reconcile() == Outcome(Result.RETRY, 9.0)


async def test_a_status_that_is_refused_is_given_up(world: World) -> None:
    world.plan = planned(status={"phase": "Unheard"})
    world.kube.before = _raise(Terminal("status.phase: unsupported value"))
    assert (await world.reconcile()).result is Result.GIVE_UP


async def test_a_defect_costs_one_key_and_is_tried_again(world: World) -> None:
    world.kube.before = _raise(ZeroDivisionError())
    world.plan = planned(service())
    assert (await world.reconcile()).result is Result.RETRY


async def test_the_plan_after_a_change_sees_what_was_applied(world: World) -> None:
    world.plan = planned(service(ports=[]))
    await world.reconcile()
    await world.reconcile()
    assert CHILD in world.observed[-1].children


async def test_prunes_are_deleted_by_uid(world: World) -> None:
    world.declare(service())
    world.plan = planned(prunes=(CHILD,))
    await world.reconcile()
    assert CHILD not in world.kube.objects


async def test_a_prune_that_is_under_way_is_not_asked_again(world: World) -> None:
    leaving = service()
    leaving["metadata"] = {**leaving["metadata"], "deletionTimestamp": "2026-11-23T00:00:00Z"}
    world.declare(leaving)
    world.plan = planned(prunes=(CHILD,))
    await world.reconcile()
    assert world.writes == []


async def test_log_lines_of_a_change_name_it_and_hold_no_value(world: World) -> None:
    stream = io.StringIO()
    logging.configure("info", stream)
    world.plan = planned(service(externalName="hunter2"))
    await world.reconcile()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["message"], line["object"], line["reason"]) for line in lines] == [
        ("Applied", "Service/qwen-coder", "Missing")
    ]
    assert "hunter2" not in json.dumps(lines)
    assert lines[0].keys() >= {"controller", "namespace", "name", "generation", "reconcile_id"}


def _raise(error: Exception) -> Any:
    def before(_: str, __: ObjectKey) -> None:
        raise error

    return before
