"""What a TenantQuota's reconcile tells others: the models whose guards hold what its gateways do not."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from builders import NOW, gateway, manifest, merged
from fake_kube import FakeKube
from pilothouse.act.apply import Apply
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.tenantquotas import TenantQuotas
from pilothouse.observe.store import Store
from pilothouse.observe.traffic import traffic
from pilothouse.plan.observed import Object, ObjectKey, key_of

QUOTA: Object = {
    "apiVersion": "pilothouse.dev/v1alpha1",
    "kind": "TenantQuota",
    "metadata": {"name": "team-ide"},
    "spec": {
        "namespaces": ["team-ide"],
        "callers": {
            "auth": {"apiKeys": {"secretNames": ["keys"]}},
            "perTenant": {"requestsPerMinute": 60},
        },
    },
}
MODEL = manifest()
INVITING = manifest({"route": {"allowTenants": ["team-ide"]}}, name="shared", namespace="team-data", uid="u2")
FOREIGN = manifest(name="foreign", namespace="team-data", uid="u3")


@dataclass
class Scene:
    """A quota and models in a Store, and who was woken."""

    store: Store = field(default_factory=Store)
    kube: FakeKube = field(default_factory=FakeKube)
    woken: list[ObjectKey] = field(default_factory=list)

    def know(self, *objects: Object) -> None:
        for obj in objects:
            self.store.upsert(self.kube.put(obj))

    async def reconcile(self) -> list[ObjectKey]:
        """Reconcile the quota, and return who was woken."""
        self.woken.clear()
        apply, ledger = Apply(self.kube, self.store.upsert), GpuLedger(self.store)
        look: Any = partial(traffic, self.store)
        quotas = TenantQuotas(
            self.store,
            ledger,
            apply,
            self.kube,
            self.woken.append,
            look,
            lambda: NOW,
        )
        await quotas(key_of(QUOTA))
        return sorted(self.woken)


async def test_models_are_woken_when_their_guards_have_to_hold_other_limits() -> None:
    scene = Scene()
    scene.know(QUOTA, MODEL, INVITING, FOREIGN, gateway())
    assert await scene.reconcile() == sorted([key_of(MODEL), key_of(INVITING)])
    assert await scene.reconcile() == []

    owned = {"metadata": {"annotations": {"pilothouse.dev/callers": "External"}}}
    scene.know(merged(gateway(), owned))
    assert await scene.reconcile() == sorted([key_of(MODEL), key_of(INVITING)])
