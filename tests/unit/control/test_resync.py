import asyncio

import pytest

from builders import manifest
from fake_kube import FakeKube
from pilothouse.control.queue import Queue
from pilothouse.control.resync import Resync
from pilothouse.errors import NotFound, Retryable
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey
from virtual_time import now, run

KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
GATEWAY_API = ("gateway.networking.k8s.io", "v1")


class World:
    """A cluster, and what is known of it."""

    def __init__(self, *objects: Object) -> None:
        self.kube = FakeKube(*objects)
        self.store = Store()
        self.queue = Queue[ObjectKey]()
        self.resync = Resync(self.kube, self.store, self.queue, now)

    async def queued(self) -> list[ObjectKey]:
        """Take all that is queued."""
        keys = []
        try:
            while True:
                async with asyncio.timeout(0.001):
                    keys.append(await self.queue.get())
        except TimeoutError:
            return keys


def _route() -> Object:
    labels = {"pilothouse.dev/deployment": "qwen-coder"}
    metadata = {"name": "qwen-coder", "namespace": "team-ide", "labels": labels}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata}


def test_the_first_fill_takes_in_what_is_there() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        assert world.store.get(KEY)
        assert world.resync.filled

    run(play())


def test_the_first_fill_waits_for_an_api_server_that_is_away() -> None:
    async def play() -> None:
        world = World(manifest())

        def away(_: str, __: ObjectKey) -> None:
            if now() < 60:
                raise Retryable("connection refused")

        world.kube.before = away
        await world.resync.fill()
        assert 60 <= now() < 65

    run(play())


def test_nothing_is_reconciled_before_the_license_policies_are_listed() -> None:
    async def play() -> None:
        world = World(manifest())

        def no_policies(_: str, key: ObjectKey) -> None:
            if key.kind == "LicensePolicy":
                raise NotFound("the server could not find the requested resource")

        world.kube.before = no_policies
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await world.resync.fill()
        assert not world.resync.filled
        assert await world.queued() == []

    run(play())


def test_an_optional_kind_that_is_not_served_is_not_listed() -> None:
    async def play() -> None:
        world = World()
        await world.resync.fill()
        listed = {key.kind for verb, key in world.kube.requests if verb == "list"}
        assert "HTTPRoute" not in listed
        assert "Deployment" in listed

    run(play())


def test_what_vanished_unseen_is_evicted_and_whom_it_concerns_is_queued() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        world.kube.remove(KEY)
        await world.resync.compare()
        assert world.store.get(KEY) is None
        assert await world.queued() == [KEY]

    run(play())


def test_what_changed_unseen_is_read_and_queued() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        world.kube.put(manifest({"replicas": 7}))
        await world.resync.compare()
        known = world.store.get(KEY)
        assert known
        assert known["spec"]["replicas"] == 7
        assert await world.queued() == [KEY]

    run(play())


def test_what_the_watch_brings_a_little_later_is_not_missed() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        changed = world.kube.put(manifest({"replicas": 7}))
        asyncio.get_running_loop().call_later(2, world.store.upsert, changed)
        await world.resync.compare()
        assert await world.queued() == []
        assert world.resync.lost_watches() == []

    run(play())


def test_nothing_is_queued_when_all_is_known() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        await world.resync.compare()
        assert await world.queued() == []

    run(play())


def test_a_watch_that_misses_changes_twice_in_a_row_is_lost() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        running = asyncio.create_task(world.resync.run(600))
        for replicas in (1, 2):
            world.kube.put(manifest({"replicas": replicas}))
            await asyncio.sleep(700)
        assert world.resync.lost_watches() == ["ModelDeployment"]
        await asyncio.sleep(700)
        assert world.resync.lost_watches() == []
        running.cancel()

    run(play())


def test_what_vanished_while_a_watch_was_away_is_noticed_when_it_has_listed_again() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        running = asyncio.create_task(world.resync.run(600))
        await asyncio.sleep(1)
        world.kube.remove(KEY)
        world.resync.relisted()
        await asyncio.sleep(10)
        assert world.store.get(KEY) is None
        assert await world.queued() == [KEY]
        running.cancel()

    run(play())


def test_a_watch_that_lists_anew_is_not_lost() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()
        running = asyncio.create_task(world.resync.run(600))
        for replicas in (1, 2, 3):
            world.kube.put(manifest({"replicas": replicas}))
            world.resync.relisted()
            await asyncio.sleep(60)
        assert world.resync.lost_watches() == []
        running.cancel()

    run(play())


def test_an_optional_kind_that_comes_is_listed_and_all_are_looked_at() -> None:
    async def play() -> None:
        world = World(manifest(), _route())
        await world.resync.fill()
        world.kube.resources[GATEWAY_API] = frozenset({"httproutes", "gateways"})
        discovering = asyncio.create_task(world.resync.discover(15))
        await asyncio.sleep(16)
        discovering.cancel()
        assert world.store.served_kinds == {"HTTPRoute", "Gateway"}
        assert world.store.get(ObjectKey("HTTPRoute", "team-ide", "qwen-coder"))
        assert await world.queued() == [KEY]

    run(play())


def test_an_optional_kind_that_goes_is_dropped() -> None:
    async def play() -> None:
        world = World(manifest(), _route())
        world.kube.resources[GATEWAY_API] = frozenset({"httproutes", "gateways"})
        await world.resync.fill()
        world.kube.resources.clear()
        discovering = asyncio.create_task(world.resync.discover(15))
        await asyncio.sleep(16)
        discovering.cancel()
        assert world.store.served_kinds == frozenset()
        assert world.store.get(ObjectKey("HTTPRoute", "team-ide", "qwen-coder")) is None

    run(play())


def test_an_outage_fails_a_resync_and_not_the_operator() -> None:
    async def play() -> None:
        world = World(manifest())
        await world.resync.fill()

        def away(_: str, __: ObjectKey) -> None:
            raise Retryable("connection refused")

        world.kube.before = away
        running = asyncio.create_task(world.resync.run(600))
        await asyncio.sleep(2000)
        assert not running.done()
        assert now() - world.resync.attempted_at < 700
        running.cancel()

    run(play())
