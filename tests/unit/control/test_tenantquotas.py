"""One TenantQuota, looked at once; whether the API server takes what is sent is tested on a real one."""

from functools import partial

from builders import NOW, manifest
from fake_kube import FakeKube
from pilothouse.act.apply import Apply
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.control.tenantquotas import TenantQuotas
from pilothouse.observe.store import Store
from pilothouse.observe.traffic import traffic
from pilothouse.plan.observed import Object, ObjectKey

QUOTA = ObjectKey("TenantQuota", "", "team-ide")
MODEL = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")


def tenant_quota(**spec: object) -> Object:
    """A TenantQuota of 4 GPUs."""
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": "team-ide", "generation": 1},
        "spec": {"namespaces": ["team-ide"], "gpus": {"total": 4}, **spec},
    }


class World:
    """A cluster, and whom the reconciler wakes."""

    def __init__(self, *objects: Object) -> None:
        self.kube, self.store = FakeKube(), Store()
        self.woken: list[ObjectKey] = []
        for obj in objects:
            self.store.upsert(self.kube.put(obj))
        self.reconcile = TenantQuotas(
            store=self.store,
            ledger=GpuLedger(self.store),
            apply=Apply(self.kube, self.store.upsert),
            kube=self.kube,
            wake=self.woken.append,
            look=partial(traffic, self.store),
            now=lambda: NOW,
        )

    async def run(self) -> Outcome:
        """Reconcile once."""
        return await self.reconcile(QUOTA)

    async def settle(self) -> None:
        """Reconcile what is new, and forget whom that woke."""
        await self.run()
        self.woken.clear()

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What was asked of the API server: verb and kind."""
        return [(verb, key.kind) for verb, key in self.kube.requests]


async def test_what_is_not_there_costs_nothing() -> None:
    world = World()
    assert await world.run() == DONE
    assert world.writes == []


async def test_a_resource_quota_is_put_behind_it_and_the_status_is_told_once() -> None:
    world = World(tenant_quota())
    assert await world.run() == DONE
    assert await world.run() == DONE
    assert world.writes == [("apply", "ResourceQuota"), ("patch_status", "TenantQuota")]


async def test_those_that_wait_and_can_have_gpus_are_woken() -> None:
    world = World(tenant_quota(), manifest())
    await world.settle()
    await world.run()
    assert world.woken == [MODEL]


async def test_nobody_is_woken_while_nothing_is_free() -> None:
    world = World(tenant_quota(gpus={"total": 0}), manifest())
    await world.settle()
    await world.run()
    assert world.woken == []


async def test_one_that_can_not_be_read_says_so_and_waits_for_a_change() -> None:
    world = World(tenant_quota(gpus={"total": "many"}))
    assert await world.run() == Outcome(Result.GIVE_UP)
    assert world.writes == [("patch_status", "TenantQuota")]
