import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from fake_kube import FakeKube
from pilothouse.control.leader import Leader
from pilothouse.errors import Retryable
from pilothouse.plan.observed import ObjectKey
from pilothouse.settings import Settings
from virtual_time import now, run

LEASE = ObjectKey("Lease", "pilothouse-system", "pilothouse")


class Replica:
    """One operator process, as far as its Lease goes: who works when."""

    working: ClassVar[set[str]] = set()

    def __init__(self, kube: FakeKube, identity: str) -> None:
        self.identity = identity
        self.leader = Leader(kube, Settings(identity=identity))
        self.began: list[float] = []
        self.task = asyncio.create_task(self.leader.run(self.work))

    async def work(self) -> None:
        """Work until cancelled, and note when it began."""
        self.began.append(now())
        self.working.add(self.identity)
        try:
            await asyncio.Event().wait()
        finally:
            self.working.discard(self.identity)

    async def stop(self) -> None:
        """Stop as on SIGTERM."""
        self.task.cancel()
        await asyncio.wait([self.task])


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def call() -> None:
        Replica.working = set()
        await test()

    def sync() -> None:
        run(call())

    sync.__name__ = test.__name__
    return sync


def _lease(kube: FakeKube) -> dict[str, object]:
    spec: dict[str, object] = kube.objects[LEASE]["spec"]
    return spec


@in_virtual_time
async def test_a_lease_that_is_not_there_is_created_and_work_begins() -> None:
    kube = FakeKube()
    replica = Replica(kube, "a")
    await asyncio.sleep(1)
    assert replica.working == {"a"}
    assert _lease(kube)["holderIdentity"] == "a"


@in_virtual_time
async def test_a_standby_waits_while_the_holder_renews() -> None:
    kube = FakeKube()
    Replica(kube, "a")
    await asyncio.sleep(1)
    standby = Replica(kube, "b")
    await asyncio.sleep(600)
    assert standby.began == []


@in_virtual_time
async def test_a_stopped_holder_hands_over_within_the_retry_period() -> None:
    kube = FakeKube()
    holder = Replica(kube, "a")
    await asyncio.sleep(1)
    standby = Replica(kube, "b")
    await asyncio.sleep(20)
    stopped = now()
    await holder.stop()
    await asyncio.sleep(5)
    assert standby.began[0] - stopped <= 2.1
    assert _lease(kube)["leaseTransitions"] == 2


@in_virtual_time
async def test_a_lease_is_given_back_though_its_renewal_was_cut_off() -> None:
    kube = FakeKube()
    holder = Replica(kube, "a")
    await asyncio.sleep(1)

    def answer_is_lost(verb: str, _: ObjectKey) -> None:
        if verb == "update":
            kube.put(kube.objects[LEASE])
            kube.before = lambda _, __: None
            holder.task.cancel()

    kube.before = answer_is_lost
    await asyncio.wait([holder.task])
    assert _lease(kube)["holderIdentity"] == ""


@in_virtual_time
async def test_a_silent_holder_is_followed_after_the_lease_duration_of_the_standby_own_clock() -> None:
    kube = FakeKube()
    kube.put(
        {
            "kind": "Lease",
            "metadata": {"name": "pilothouse", "namespace": "pilothouse-system"},
            "spec": {
                "holderIdentity": "dead",
                "leaseDurationSeconds": 15,
                "renewTime": "1999-01-01T00:00:00.0Z",
            },
        }
    )
    standby = Replica(kube, "b")
    await asyncio.sleep(60)
    assert 15 <= standby.began[0] <= 17.1


@in_virtual_time
async def test_a_restarted_holder_takes_up_its_own_lease_at_once() -> None:
    kube = FakeKube()
    kube.put(
        {
            "kind": "Lease",
            "metadata": {"name": "pilothouse", "namespace": "pilothouse-system"},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 4},
        }
    )
    replica = Replica(kube, "a")
    await asyncio.sleep(1)
    assert replica.working == {"a"}
    assert _lease(kube)["leaseTransitions"] == 4


@pytest.mark.parametrize("outage", ["error", "hang"])
def test_work_stops_before_anyone_else_may_take_the_lease(outage: str) -> None:
    async def play() -> None:
        Replica.working = set()
        kube, cut_off = FakeKube(), FakeKube()
        cut_off.objects = kube.objects
        replica = Replica(cut_off, "a")
        await asyncio.sleep(30)
        standby = Replica(kube, "b")
        await asyncio.sleep(1)
        if outage == "hang":
            cut_off.hang = True
        else:
            cut_off.before = _refuse
        for _ in range(300):
            await asyncio.sleep(0.1)
            assert len(Replica.working) <= 1
        assert Replica.working == {"b"}
        assert len(replica.began) == len(standby.began) == 1

    run(play())


@in_virtual_time
async def test_an_api_server_that_was_away_costs_no_restart() -> None:
    kube = FakeKube()
    replica = Replica(kube, "a")
    await asyncio.sleep(30)
    kube.before = _refuse
    await asyncio.sleep(30)
    assert replica.working == set()
    kube.before = lambda _, __: None
    await asyncio.sleep(2.1)
    assert replica.working == {"a"}


@in_virtual_time
async def test_a_lease_that_someone_annotated_is_kept() -> None:
    kube = FakeKube()
    replica = Replica(kube, "a")
    await asyncio.sleep(5)
    kube.put(
        {**kube.objects[LEASE], "metadata": {**kube.objects[LEASE]["metadata"], "annotations": {"x": "y"}}}
    )
    await asyncio.sleep(60)
    assert len(replica.began) == 1


@in_virtual_time
async def test_a_lease_that_someone_else_took_stops_the_work() -> None:
    kube = FakeKube()
    replica = Replica(kube, "a")
    await asyncio.sleep(5)
    lease = kube.objects[LEASE]
    kube.put({**lease, "spec": {**lease["spec"], "holderIdentity": "b"}})
    await asyncio.sleep(2.1)
    assert replica.working == set()


@in_virtual_time
async def test_failing_work_ends_the_operator_with_its_error() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Leader(FakeKube(), Settings(identity="a")).run(fail)


def _refuse(_: str, __: ObjectKey) -> None:
    raise Retryable("no route to host")
