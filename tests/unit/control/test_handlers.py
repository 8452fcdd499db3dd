import asyncio

from builders import manifest
from pilothouse.control.handlers import observer
from pilothouse.control.queue import Queue
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey
from virtual_time import now, run

KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")


def at(version: int, obj: Object) -> Object:
    """Give an object a version."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def child(**status: object) -> Object:
    """A Deployment of `qwen-coder`."""
    labels = {"pilothouse.dev/deployment": "qwen-coder"}
    metadata = {"name": "qwen-coder-1", "namespace": "team-ide", "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "status": status}


def queue_class(priority: int) -> Object:
    """The lane of `qwen-coder`."""
    spec = {"priority": priority}
    return {"apiVersion": "x/v1", "kind": "QueueClass", "metadata": {"name": "completion"}, "spec": spec}


def _queued_after(*events: tuple[str, Object]) -> list[tuple[float, ObjectKey]]:
    """Tell what is queued, and when, after these events."""

    async def play() -> list[tuple[float, ObjectKey]]:
        queue = Queue[ObjectKey]()
        observe = observer(Store(), queue, lambda: None)
        for event, obj in events[:-1]:
            observe(event, obj)
        await _drain(queue)
        began = now()
        observe(*events[-1])
        return [(round(when - began, 3), key) for when, key in await _drain(queue)]

    return run(play())


async def _drain(queue: Queue[ObjectKey]) -> list[tuple[float, ObjectKey]]:
    taken = []
    try:
        while True:
            async with asyncio.timeout(10):
                key = await queue.get()
            taken.append((now(), key))
            queue.done(key)
    except TimeoutError:
        return taken


def test_a_change_by_people_is_looked_at_at_once() -> None:
    assert _queued_after(("MODIFIED", at(1, manifest()))) == [(0, KEY)]


def test_a_change_of_a_child_wakes_its_owner_when_it_has_settled() -> None:
    assert _queued_after(("MODIFIED", at(1, manifest())), ("MODIFIED", at(2, child()))) == [(0.1, KEY)]


def test_a_child_that_is_deleted_wakes_its_owner() -> None:
    assert _queued_after(("MODIFIED", at(1, child())), ("DELETED", at(2, child()))) == [(0.1, KEY)]


def test_a_change_of_a_lane_wakes_those_who_use_it() -> None:
    before = (("MODIFIED", at(1, manifest())), ("MODIFIED", at(2, queue_class(1))))
    assert _queued_after(*before, ("MODIFIED", at(3, queue_class(2)))) == [(0, KEY)]


def test_a_lane_that_goes_wakes_those_who_use_it() -> None:
    before = (("MODIFIED", at(1, manifest())), ("MODIFIED", at(2, queue_class(1))))
    assert _queued_after(*before, ("DELETED", at(3, queue_class(1)))) == [(0, KEY)]


def test_an_event_that_brings_nothing_new_wakes_nobody() -> None:
    assert _queued_after(("MODIFIED", at(2, child())), ("MODIFIED", at(2, child()))) == []
    assert _queued_after(("MODIFIED", at(2, child())), ("MODIFIED", at(1, child(replicas=1)))) == []
    assert _queued_after(("MODIFIED", at(2, child())), ("MODIFIED", at(3, child()))) == []
