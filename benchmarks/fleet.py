"""Many ModelDeployments without pods: declare them, apply their children by hand, wait until all rests."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from children import OF_A_MODEL
from e2e.manifests import model_deployment, queue_class, route
from harness.api import Api, Object
from harness.outside import Process, operator
from pilothouse.act.apply import with_digest
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.kinds import BY_NAME, MODEL_DEPLOYMENT, QUEUE_CLASS, Kind
from pilothouse.plan.observed import Observed
from pilothouse.plan.plan import plan

T = TypeVar("T")

CONCURRENCY = 16
LANE = "bench"
CHILDREN_EACH = {kind: 2 if kind.name == "Service" else 1 for kind in OF_A_MODEL}
"""Two Services: that of the revision, and the model's own."""

WRITES = ("apply", "patch_status", "create", "update", "delete")
QUIET_SECONDS = 10


@asynccontextmanager
async def namespace(api: Api, name: str) -> AsyncIterator[str]:
    """Give a namespace and the lane; both are removed in the end, with all that is in them."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    await api.apply(QUEUE_CLASS.path(name=LANE), queue_class(LANE), "bench")
    try:
        yield name
    finally:
        await api.delete(f"/api/v1/namespaces/{name}")
        await api.delete(QUEUE_CLASS.path(name=LANE))
        await until(lambda: _is_gone(api, name), seconds=900)


@asynccontextmanager
async def at_rest(api: Api, kubeconfig: Path, name: str, count: int) -> AsyncIterator[tuple[str, Process]]:
    """Give a namespace with ModelDeployments that have their children, and the operator that did it."""
    with tempfile.TemporaryDirectory() as folder, operator(kubeconfig, Path(folder)) as process:
        async with namespace(api, name) as where:
            process.start()
            process.wait_leading()
            await asyncio.gather(declare(api, where, count), in_place(api, where, count))
            await quiet(process)
            yield where, process


def manifest(number: int, namespace: str) -> Object:
    """Return a ModelDeployment without pods; its Gateway is nobody's, so only the operator is measured."""
    name = f"model-{number:04}"
    way = route(name, namespace, gateway="nobody")
    return model_deployment(name, namespace, LANE, replicas=0, route=way)


async def declare(api: Api, namespace: str, count: int) -> None:
    """Create ModelDeployments, CONCURRENCY at a time."""
    path = MODEL_DEPLOYMENT.path(namespace)

    async def one(number: int) -> None:
        await api.create(path, manifest(number, namespace))

    await _each(one, range(count))


async def apply_children(api: Api, children: list[list[Object]]) -> None:
    """Apply the children of ModelDeployments as a bare client does, CONCURRENCY models at a time."""

    async def one(objects: list[Object]) -> None:
        for obj in objects:
            await api.apply(_path(obj), obj, "bare")

    await _each(one, children)


def children(count: int, namespace: str) -> list[list[Object]]:
    """Return the very objects that the operator applies for these ModelDeployments, but for their owner."""
    return [_children(manifest(number, namespace)) for number in range(count)]


async def in_place(api: Api, namespace: str, count: int) -> None:
    """Wait until every child of so many ModelDeployments is there."""
    for kind, each in sorted(CHILDREN_EACH.items(), key=lambda item: item[0].name != "HTTPRoute"):
        await until(lambda kind=kind, each=each: _has(api, kind, namespace, each * count), seconds=600)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: it did not hold within `seconds`.

    """
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- the API server sets no event
            await asyncio.sleep(0.1)


async def seconds(work: Awaitable[object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def quiet(process: Process) -> None:
    """Wait until the operator has written nothing for a while: other controllers follow in their own time."""
    last, since_when = writes(process), time.monotonic()
    while time.monotonic() - since_when < QUIET_SECONDS:
        await asyncio.sleep(0.5)
        if (now := writes(process)) != last:
            last, since_when = now, time.monotonic()


def writes(process: Process) -> float:
    """Count the requests of the operator that change something, the Lease's apart."""
    return sum(
        process.metric("pilothouse_api_requests_total", verb=verb)
        - process.metric("pilothouse_api_requests_total", verb=verb, kind="Lease")
        for verb in WRITES
    )


async def _each(do: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


def _children(declared: Object) -> list[Object]:
    metadata = declared["metadata"] | {"uid": "bench", "generation": 1}
    observed = Observed(
        now=datetime.now(UTC),
        deployment=ModelDeployment.parse(declared | {"metadata": metadata}),
        queue_class=QueueClass.parse(queue_class(LANE)),
        policy=BUILT_IN,
        served_kinds=frozenset({"HTTPRoute", "Gateway"}),
    )
    objects = [with_digest(obj) for obj in plan(observed).objects]
    for obj in objects:
        # The garbage collector deletes what has an owner that is not there.
        del obj["metadata"]["ownerReferences"]
    return objects


def _path(obj: Object) -> str:
    return BY_NAME[obj["kind"]].path(obj["metadata"]["namespace"], obj["metadata"]["name"])


async def _has(api: Api, kind: Kind, namespace: str, count: int) -> bool:
    return await api.count(kind.path(namespace)) >= count


async def _is_gone(api: Api, name: str) -> bool:
    names = await api.get("/api/v1/namespaces", fieldSelector=f"metadata.name={name}")
    return not names["items"]
