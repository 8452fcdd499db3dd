"""Many models under the operator's own loop: its Queue, Store, plans and writes are the real ones.

The cluster follows at once, engines count by the clock, and time is virtual: each look is taken to cost the
one core that there is so much of it.
"""

import asyncio
import contextvars
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import BuiltinFunctionType, FunctionType, ModuleType

from builders import NOW, accepted_parent, gateway, manifest
from fake_kube import FakeKube
from fake_looks import BARE
from pilothouse.act.apply import Apply
from pilothouse.act.events import Events
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.preflights import Preflights
from pilothouse.control.queue import Priority, Queue
from pilothouse.control.reconcile import Decisions, Outcome, Reconcile
from pilothouse.control.record import Record
from pilothouse.control.worker import Workers
from pilothouse.kinds import GATEWAY, HTTP_ROUTE
from pilothouse.names import DEPLOYMENT, REVISION
from pilothouse.observe.gather import Gather, Looks
from pilothouse.observe.measured import Measured
from pilothouse.observe.recent import Recent
from pilothouse.observe.store import Store
from pilothouse.plan.invalid import invalid
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.plan import plan
from pilothouse.plan.preflight import Preflight
from pilothouse.plan.readings import Reading
from pilothouse.telemetry.modelinfo import Models
from virtual_time import now

COST = 0.01
"""Seconds of the core that one look takes."""
REST = 20.0
"""By then what was declared rests."""
RATE = 20
"""Requests a second of each pod."""
POLICY: Object = {
    "steps": [{"preflight": {}}, {"weight": 50, "hold": "2h"}],
    "analysis": {"interval": "5s", "warmupRequests": 0},
    "bake": "5s",
    "maxConcurrentRollouts": 1000,
}
LANE: Object = {
    "requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"},
    "concurrency": {"perReplica": 64, "queuedPerReplica": 32},
    "objectives": [{"metric": "Success", "ratio": 0.95}],
}
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
_FOREIGN = (*_CODE, asyncio.AbstractEventLoop, contextvars.Context, FakeKube)


class Kube(FakeKube):
    """A cluster whose controllers are done as soon as something is applied, and which keeps no Events."""

    def __init__(self) -> None:
        super().__init__()
        self.deployments: dict[str, dict[ObjectKey, Object]] = {}
        self.gone: Callable[[ObjectKey, int], object] = lambda _, __: None
        """What a watch tells when an object is gone, and at which version."""

    def put(self, obj: Object) -> Object:
        """Store an object, with the status that its controller gives it."""
        stored = super().put(_followed(obj))
        self.requests.clear()
        self.bodies.clear()
        if obj["kind"] == "Deployment":
            self.deployments.setdefault(obj["metadata"]["labels"][DEPLOYMENT], {})[key_of(obj)] = obj
        return stored

    def remove(self, key: ObjectKey) -> None:
        """Drop an object."""
        for live in self.deployments.values():
            live.pop(key, None)
        super().remove(key)
        self.gone(key, self.version)

    async def patch_status(self, key: ObjectKey, patch: Object) -> Object:
        """Merge a patch at all its levels."""
        known = self.objects[key]
        return self.put({**known, "status": _patched(known.get("status", {}), patch["status"])})

    async def create(self, obj: Object) -> Object:
        """Take an Event, and forget it."""
        return obj


def _patched(known: Object, patch: Object) -> Object:
    """Apply a JSON merge patch (RFC 7386)."""
    after = {name: value for name, value in known.items() if name not in patch}
    for name, value in patch.items():
        if isinstance(value, dict):
            before = known.get(name)
            after[name] = _patched(before if isinstance(before, dict) else {}, value)
        elif value is not None:
            after[name] = value
    return after


def _followed(obj: Object) -> Object:
    if obj["kind"] == "Deployment":
        wanted = obj["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), wanted)
        return {**obj, "status": {"observedGeneration": 1, **counts}}
    return {**obj, "status": {"parents": [accepted_parent()]}} if obj["kind"] == "HTTPRoute" else obj


class ReadStore(Store):
    """Counts the objects that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get(self, key: ObjectKey) -> Object | None:
        """Read one."""
        self.reads += 1
        return super().get(key)

    def children(self, owner: ObjectKey, uid: str) -> dict[ObjectKey, Object]:
        """Read those of one owner."""
        found = super().children(owner, uid)
        self.reads += len(found)
        return found


@dataclass
class Fleet:
    """All models, and the operator that looks after them."""

    kube: Kube = field(default_factory=Kube)
    store: ReadStore = field(default_factory=ReadStore)
    queue: Queue[ObjectKey] = field(default_factory=Queue)
    recent: Recent = field(default_factory=Recent)
    core: asyncio.Lock = field(default_factory=asyncio.Lock)
    looks: int = 0
    broken: dict[str, float] = field(default_factory=dict)
    """Revisions of which every second request fails, and since when."""

    def __post_init__(self) -> None:
        self.kube.gone = self.store.evict
        self.preflights = Preflights(
            self._examine, self.queue.add, lambda key: self.store.version(key) is not None, at_a_time=8
        )
        self.reconcile = Reconcile(
            store=self.store,
            gather=Gather(
                self.store,
                self._pods,
                self._reachable,
                Looks(self._measure, self.recent, self.preflights, self._no_fetch),
                BARE,
                _clock,
            ),
            decide=Decisions(plan, invalid),
            record=Record(self.kube, self.store.upsert),
            apply=Apply(self.kube, self.store.upsert),
            kube=self.kube,
            events=Events(self.kube, "test", _clock),
            models=Models(),
            gpus=GpuLedger(self.store),
        )
        self.store.serve([GATEWAY, HTTP_ROUTE])
        for obj in (
            {"kind": "QueueClass", "metadata": {"name": "completion"}, "spec": LANE},
            {"kind": "RolloutPolicy", "metadata": {"name": "long"}, "spec": POLICY},
            gateway(),
        ):
            self.store.upsert(self.kube.put(obj))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let four workers look, until the end."""
        task = asyncio.create_task(Workers(self.queue, self._look, 4).run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.preflights.stop()

    async def begin(self, resting: int, rolling: int) -> list[ObjectKey]:
        """Have so many models rest, and so many others with a canary at half of the traffic: name these."""
        self.declare("rests", resting)
        self.declare("rolls", rolling)
        await asyncio.sleep(REST)
        keys = self.declare("rolls", rolling, "b")
        await asyncio.sleep(REST)
        assert {self.backends(key) for key in keys} == {2}
        return keys

    def declare(self, name: str, count: int, commit: str = "a") -> list[ObjectKey]:
        """Ask for this commit of so many models."""
        return [self._declare(f"{name}-{number}", commit) for number in range(count)]

    def break_canaries(self, keys: Iterable[ObjectKey]) -> None:
        """Let every second request of these models' canaries fail from now on."""
        self.broken |= {self.status(key)["canary"]["revision"]: now() for key in keys}

    def resync(self) -> None:
        """Queue every model, as is done every few minutes."""
        for key in self.kube.objects:
            if key.kind == "ModelDeployment":
                self.queue.add(key, Priority.ROUTINE)

    def status(self, key: ObjectKey) -> Object:
        """What the cluster has of a model's status."""
        status: Object = self.kube.objects[key].get("status", {})
        return status

    def backends(self, key: ObjectKey) -> int:
        """Count the revisions that get traffic."""
        route = self.kube.objects[ObjectKey("HTTPRoute", key.namespace, key.name)]
        return len(route["spec"]["rules"][0]["backendRefs"])

    async def wait_for_routes(self, keys: Sequence[ObjectKey]) -> None:
        """Wait until each of these models has all its traffic in one place."""
        while any(self.backends(key) > 1 for key in keys):  # noqa: ASYNC110 -- time is virtual
            await asyncio.sleep(COST)

    def held(self) -> int:
        """Count the Python objects that the operator holds on to."""
        return _count(self.reconcile, self.queue, self.preflights, self.recent)

    def _declare(self, name: str, commit: str) -> ObjectKey:
        model = {"checkpoint": {"revision": commit * 40}, "tokenizer": {"revision": "a" * 40}}
        spec = {"replicas": 1, "model": model, "rollout": {"policyName": "long"}}
        obj = manifest(spec, name=name, uid=name, generation=ord(commit))
        key = key_of(obj)
        self.store.upsert(self.kube.put({**self.kube.objects.get(key, {}), **obj}))
        self.queue.add(key)
        return key

    async def _look(self, key: ObjectKey) -> Outcome:
        async with self.core:
            await asyncio.sleep(COST)
        self.looks += 1
        return await self.reconcile(key)

    async def _pods(self, key: ObjectKey) -> list[Object]:
        return [
            _pod(obj, number)
            for obj in self.kube.deployments.get(key.name, {}).values()
            for number in range(obj["spec"]["replicas"])
        ]

    async def _reachable(self, key: ObjectKey) -> dict[str, int]:
        return Counter(pod["metadata"]["labels"][REVISION] for pod in await self._pods(key))

    async def _measure(self, _: object, __: object, pods: Sequence[Object], at: datetime) -> Measured:
        return Measured(tuple(self._reading(pod, at) for pod in pods))

    def _reading(self, pod: Object, at: datetime) -> Reading:
        revision = pod["metadata"]["labels"][REVISION]
        served = float(int(RATE * now()))
        errors = float(int(RATE * (now() - self.broken[revision]) / 2)) if revision in self.broken else 0.0
        counters = {
            "vllm:request_success_total/stop": served - errors,
            "http_requests_total/2xx": served - errors,
            "http_requests_total/5xx": errors,
            "vllm:prompt_tokens_total": served * 100,
            "vllm:generation_tokens_total": served * 20,
        }
        return Reading(pod["metadata"]["uid"], revision, at, counters)

    async def _examine(self, pod: Object, _: Preflight) -> PreflightStatus:
        return PreflightStatus(pod=pod["metadata"]["uid"])

    async def _no_fetch(self, _: object) -> None:
        return None


async def reads_of_a_look(resting: int, rolling: int) -> float:
    """How many objects a look at a rollout reads, on average."""
    fleet = Fleet()
    async with fleet.running():
        await fleet.begin(resting, rolling)
        reads, looks = fleet.store.reads, fleet.looks
        await asyncio.sleep(20)
        return (fleet.store.reads - reads) / (fleet.looks - looks)


async def held_while_rolling(resting: int, rolling: int, seconds: float) -> tuple[int, int]:
    """How many objects are held when rollouts have begun, and so many seconds later."""
    fleet = Fleet()
    async with fleet.running():
        await fleet.begin(resting, rolling)
        before = fleet.held()
        await asyncio.sleep(seconds)
        return before, fleet.held()


async def held_after_each_rollout(resting: int, rolling: int, times: int) -> list[int]:
    """How many objects are held at rest, after each of so many rollouts that were withdrawn."""
    fleet, held = Fleet(), []
    async with fleet.running():
        for _ in range(times):
            await fleet.begin(resting, rolling)
            fleet.declare("rolls", rolling)
            await asyncio.sleep(REST)
            held.append(fleet.held())
    return held


async def seconds_to_roll_back(resting: int, rolling: int) -> float:
    """How long after all canaries began to fail the last route is back, while all else is looked at anew."""
    fleet = Fleet()
    async with fleet.running():
        keys = await fleet.begin(resting, rolling)
        began = now()
        fleet.break_canaries(keys)
        fleet.resync()
        await fleet.wait_for_routes(keys)
        return now() - began


def _clock() -> datetime:
    return NOW + timedelta(seconds=now())


def _pod(deployment: Object, number: int) -> Object:
    metadata = deployment["metadata"]
    name = f"{metadata['name']}-{number}"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": NOW.isoformat()}
    return {
        "metadata": {"name": name, "uid": name, "labels": metadata["labels"]},
        "status": {
            "podIP": "10.0.0.1",
            "conditions": [ready],
            "containerStatuses": [{"name": "engine", "started": True, "ready": True, "restartCount": 0}],
        },
    }


def _count(*roots: object) -> int:
    """Count what is reachable: containers and what is in them, but no code, no cluster and no loop."""
    seen: dict[int, object] = {}
    left: list[object] = list(roots)
    while left:
        obj = left.pop()
        if id(obj) not in seen and not isinstance(obj, _FOREIGN):
            seen[id(obj)] = obj
            left.extend(gc.get_referents(obj))
    return len(seen)
