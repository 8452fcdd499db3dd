"""Which GPUs are taken: what the Deployments ask for, and what was promised and does not show there yet.

A promise is made without a pause between the look at what is free and the note that it is taken, so two
reconciles never get the same GPU. It holds until the ModelDeployment wants less. Nothing of it is stored: a
new holder of the Lease finds the GPUs of every pod in the Deployments, and a promise that nobody acted upon
is none.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from kubernetes.utils.quantity import parse_quantity
from pydantic import ValidationError

from pilothouse.api.tenantquota import TenantQuota, TenantQuotaSpec
from pilothouse.control.claims import Claims, all_of
from pilothouse.names import Reason
from pilothouse.observe.store import Store
from pilothouse.plan.cause import Cause
from pilothouse.plan.gpuqueue import turns, vacancy
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.gpus import Limits
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.room import Room
from pilothouse.plan.tenantquota import NamespaceUse, Tenant

_USUAL: Final = "nvidia.com/gpu"


class GpuLedger:
    """Says how many GPUs a ModelDeployment may have, and notes how many it takes.

    `changed` is told of the TenantQuotas that a promise concerns.
    """

    def __init__(
        self,
        store: Store,
        changed: Callable[[ObjectKey], object] = lambda _: None,
        *,
        demands_quota: bool = False,
    ) -> None:
        self._store = store
        self._changed = changed
        self._demands_quota = demands_quota
        self._claims = Claims(store)

    def room(self, key: ObjectKey) -> Room:
        """Return what a ModelDeployment may have now; `take` must follow before anything else happens."""
        quotas = self._store.quotas(key.namespace)
        closed = self._closed(quotas, key.namespace)
        if closed:
            return self._shut(key, _names(quotas), closed)
        if not quotas:
            return Room()
        [quota] = quotas
        spec = self._spec(quota)
        if not spec or not spec.gpus or spec.queue_name:
            return Room(tenant=quota.name, queue_name=spec.queue_name if spec else "")
        return self._limited(key, quota, spec)

    def take(self, key: ObjectKey, need: GpuNeed) -> None:
        """Note what a ModelDeployment takes, and what it wants."""
        if self._claims.note(key, need):
            self._tell(key.namespace)

    def forget(self, key: ObjectKey) -> None:
        """Give back what a ModelDeployment that is gone was promised."""
        if self._claims.note(key, None):
            self._tell(key.namespace)

    def clear(self) -> None:
        """Forget all promises: who holds the Lease next makes its own."""
        self._claims.clear()

    def tenant(self, quota: TenantQuota, now: datetime, children: dict[ObjectKey, Object]) -> Tenant:
        """Return all that a decision about a TenantQuota reads."""
        namespaces = quota.spec.namespaces
        mine = ObjectKey("TenantQuota", "", quota.metadata.name)
        rivals = {
            namespace: tuple(other.name for other in self._store.quotas(namespace) if other != mine)
            for namespace in namespaces
        }
        return Tenant(
            now=now,
            quota=quota,
            limits=self._limits(quota.spec, children.values()),
            claims=tuple(all_of(self._claims, namespaces).values()),
            active=sum(map(self._active, namespaces)),
            namespaces={namespace: self._use(namespace) for namespace in namespaces},
            rivals={namespace: others for namespace, others in rivals.items() if others},
            children=children,
        )

    def admissible(self, tenant: Tenant) -> list[ObjectKey]:
        """Name those that wait and can have more now."""
        dealt = turns(tenant.limits, tenant.claims) if tenant.limits else ()
        return [_key(turn.claim.name) for turn in dealt if turn.granted]

    def _shut(self, key: ObjectKey, tenant: str, closed: Cause) -> Room:
        """Leave one what it has, in the lanes where it has it."""
        held, ask = self._claims.held(key), self._store.holdings.asks(key.namespace).get(key)
        lanes = {**({ask.lane: 0} if ask else {}), **held.lanes}
        most = Limits(held.total, lanes)
        return Room(tenant=tenant, most=most, held=held, limit=most, closed=closed)

    def _limited(self, key: ObjectKey, quota: ObjectKey, spec: TenantQuotaSpec) -> Room:
        live = self._store.get(quota)
        children = self._store.children(quota, live["metadata"]["uid"]).values() if live else ()
        limits = self._limits(spec, children)
        claims = all_of(self._claims, spec.namespaces)
        me = claims.pop(key, None)
        if not limits or not me:
            return Room(tenant=quota.name, most=Limits(0))
        most, position, ahead = vacancy(me, limits, claims.values())
        return Room(quota.name, most, me.held, limits, position, ahead)

    def _closed(self, quotas: list[ObjectKey], namespace: str) -> Cause | None:
        if len(quotas) > 1:
            said = f"TenantQuota {_names(quotas)} all name namespace {namespace}: it gets nothing new"
            return Cause(Reason.QUOTA_CONFLICT, said)
        if not quotas:
            said = f"no TenantQuota names namespace {namespace}, and the operator demands one"
            return Cause(Reason.QUOTA_MISSING, said) if self._demands_quota else None
        if not self._spec(quotas[0]):
            said = f"TenantQuota {quotas[0].name} can't be read: its status says why"
            return Cause(Reason.QUOTA_UNREADABLE, said)
        return None

    def _spec(self, quota: ObjectKey) -> TenantQuotaSpec | None:
        try:
            return TenantQuota.parse(self._store.get(quota) or {}).spec
        except ValidationError:
            return None

    def _limits(self, spec: TenantQuotaSpec, children: Iterable[Object]) -> Limits | None:
        if not spec.gpus or spec.queue_name:
            return None
        elsewhere = sum(
            max(0, _used(child) - self._active(child["metadata"]["namespace"])) for child in children
        )
        return Limits(spec.gpus.total, spec.gpus.per_queue_class, elsewhere)

    def _active(self, namespace: str) -> int:
        return sum(each.active for each in self._store.holdings.held(namespace).values())

    def _use(self, namespace: str) -> NamespaceUse:
        """Count by resource name; one that a ModelDeployment will ask for is closed before it has pods."""
        asks = self._store.holdings.asks(namespace).values()
        asked = dict.fromkeys([_USUAL, *(ask.resource for ask in asks)], 0)
        spare = dict.fromkeys(asked, 0)
        for each in self._store.holdings.held(namespace).values():
            asked[each.resource] = asked.get(each.resource, 0) + each.asked
            if each.asked:
                spare[each.resource] = spare.get(each.resource, 0) + each.each
        return NamespaceUse(asked, spare)

    def _tell(self, namespace: str) -> None:
        for quota in self._store.quotas(namespace):
            self._changed(quota)


def _used(resource_quota: Object) -> int:
    """Count the GPUs of all pods of a namespace, those that drain and those of others included."""
    used = (resource_quota.get("status") or {}).get("used") or {}
    return sum(int(parse_quantity(amount)) for amount in used.values())  # type: ignore[no-untyped-call, misc]


def _names(quotas: list[ObjectKey]) -> str:
    return ", ".join(quota.name for quota in quotas)


def _key(name: str) -> ObjectKey:
    namespace, _, own = name.partition("/")
    return ObjectKey("ModelDeployment", namespace, own)
