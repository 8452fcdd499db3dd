"""Which GPUs are taken: what the Deployments ask for, and what was promised and does not show there yet.

A promise is made without a pause between the look at what is free and the note that it is taken, so two
reconciles never get the same GPU. It holds until the ModelDeployment wants less. Nothing of it is stored: a
new holder of the Lease finds the GPUs of every pod in the Deployments, and a promise that nobody acted upon
is none.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kubernetes.utils.quantity import parse_quantity
from pydantic import ValidationError

from pilothouse.api.tenantquota import TenantQuota, TenantQuotaSpec
from pilothouse.kinds import QUEUE_CLASS
from pilothouse.names import Reason
from pilothouse.observe.holdings import Ask, Holding
from pilothouse.observe.store import Store
from pilothouse.plan.cause import Cause
from pilothouse.plan.gpuqueue import Claim, Limits, turn_of, turns
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.room import Room
from pilothouse.plan.tenantquota import NamespaceUse, Tenant

_NOTHING: Final = GpuNeed()
_USUAL: Final = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class GpuLedger:
    """Says how many GPUs a ModelDeployment may have, and notes how many it takes.

    `changed` is told of the TenantQuotas that a promise concerns.
    """

    store: Store
    changed: Callable[[ObjectKey], object] = lambda _: None
    demands_quota: bool = False
    _needs: dict[ObjectKey, GpuNeed] = field(default_factory=dict)

    def room(self, key: ObjectKey) -> Room:
        """Return what a ModelDeployment may have now; `take` must follow before anything else happens."""
        quotas = self.store.quotas(key.namespace)
        held = self._held(key)
        closed = self._closed(quotas, key.namespace)
        if closed:
            return Room(tenant=_names(quotas), most=held, held=held, limit=held, closed=closed)
        if not quotas:
            return Room()
        [quota] = quotas
        spec = self._spec(quota)
        if not spec or not spec.gpus or spec.queue_name:
            return Room(tenant=quota.name, queue_name=spec.queue_name if spec else "")
        return self._limited(key, quota, spec)

    def take(self, key: ObjectKey, need: GpuNeed) -> None:
        """Note what a ModelDeployment takes, and what it wants."""
        if self._needs.get(key) == need:
            return
        self._needs[key] = need
        self._tell(key.namespace)

    def forget(self, key: ObjectKey) -> None:
        """Give back what a ModelDeployment that is gone was promised."""
        if self._needs.pop(key, None):
            self._tell(key.namespace)

    def tenant(self, quota: TenantQuota, now: datetime, children: dict[ObjectKey, Object]) -> Tenant:
        """Return all that a decision about a TenantQuota reads."""
        namespaces = quota.spec.namespaces
        mine = ObjectKey("TenantQuota", "", quota.metadata.name)
        rivals = {
            namespace: tuple(other.name for other in self.store.quotas(namespace) if other != mine)
            for namespace in namespaces
        }
        return Tenant(
            now=now,
            quota=quota,
            limits=self._limits(quota.spec, children.values()),
            claims=tuple(self._claims(namespaces)),
            active=sum(each.active for each in self._holdings(namespaces)),
            namespaces={namespace: self._use(namespace) for namespace in namespaces},
            rivals={namespace: others for namespace, others in rivals.items() if others},
            children=children,
        )

    def admissible(self, tenant: Tenant) -> list[ObjectKey]:
        """Name those that wait and can have more now."""
        dealt = turns(tenant.limits, tenant.claims) if tenant.limits else ()
        return [_key(turn.claim.name) for turn in dealt if turn.granted]

    def _limited(self, key: ObjectKey, quota: ObjectKey, spec: TenantQuotaSpec) -> Room:
        live = self.store.get(quota)
        children = self.store.children(quota, live["metadata"]["uid"]).values() if live else ()
        limits = self._limits(spec, children)
        claims = {claim.name: claim for claim in self._claims(spec.namespaces)}
        me = claims.pop(_name(key), None)
        if not limits or not me:
            return Room(tenant=quota.name, most=0, closed=None)
        turn = turn_of(me, limits, claims.values())
        in_lane = me.held + sum(other.held for other in claims.values() if other.lane == me.lane)
        return Room(
            tenant=quota.name,
            most=me.held + turn.granted,
            held=me.held,
            limit=limits.of(me.lane),
            position=turn.position,
            ahead=turn.ahead,
            excess=max(0, in_lane - limits.lanes.get(me.lane, in_lane)),
        )

    def _closed(self, quotas: list[ObjectKey], namespace: str) -> Cause | None:
        if len(quotas) > 1:
            said = f"TenantQuota {_names(quotas)} all name namespace {namespace}: it gets nothing new"
            return Cause(Reason.QUOTA_CONFLICT, said)
        if not quotas:
            said = f"no TenantQuota names namespace {namespace}, and the operator demands one"
            return Cause(Reason.QUOTA_MISSING, said) if self.demands_quota else None
        if not self._spec(quotas[0]):
            said = f"TenantQuota {quotas[0].name} can't be read: its status says why"
            return Cause(Reason.QUOTA_UNREADABLE, said)
        return None

    def _spec(self, quota: ObjectKey) -> TenantQuotaSpec | None:
        try:
            return TenantQuota.parse(self.store.get(quota) or {}).spec
        except ValidationError:
            return None

    def _limits(self, spec: TenantQuotaSpec, children: Iterable[Object]) -> Limits | None:
        if not spec.gpus or spec.queue_name:
            return None
        used = sum(_used(child) for child in children)
        active = sum(each.active for each in self._holdings(spec.namespaces))
        return Limits(spec.gpus.total, spec.gpus.per_queue_class, elsewhere=max(0, used - active))

    def _claims(self, namespaces: Iterable[str]) -> Iterator[Claim]:
        priorities: dict[str, int] = {}
        for namespace in namespaces:
            asks, held = self.store.holdings.asks(namespace), dict[ObjectKey, list[Holding]]()
            for holding in self.store.holdings.held(namespace).values():
                held.setdefault(holding.owner, []).append(holding)
            for key in asks.keys() | held.keys():
                ask, holdings = asks.get(key), held.get(key, [])
                lane = ask.lane if ask else holdings[0].lane
                if lane not in priorities:
                    priorities[lane] = self._priority(lane)
                yield self._claim(key, ask, sum(each.held for each in holdings), lane, priorities[lane])

    def _claim(self, key: ObjectKey, ask: Ask | None, has: int, lane: str, priority: int) -> Claim:
        """Put together what one has; who has not been looked at yet wants what it declares."""
        if not ask:
            return Claim(_name(key), lane, priority, "", has, has)
        need = self._needs.get(key) or GpuNeed(0, ask.gpus, max(1, ask.unit))
        has = max(has, need.reserved)
        return Claim(_name(key), lane, priority, ask.since, has, need.wanted, need.unit, ask.rolls_out)

    def _held(self, key: ObjectKey) -> int:
        holdings = self.store.holdings.held(key.namespace).values()
        asked = sum(each.held for each in holdings if each.owner == key)
        return max(asked, self._needs.get(key, _NOTHING).reserved)

    def _holdings(self, namespaces: Iterable[str]) -> Iterator[Holding]:
        for namespace in namespaces:
            yield from self.store.holdings.held(namespace).values()

    def _use(self, namespace: str) -> NamespaceUse:
        """Count by resource name; one that a ModelDeployment will ask for is closed before it has pods."""
        asks = self.store.holdings.asks(namespace).values()
        asked = dict.fromkeys([_USUAL, *(ask.resource for ask in asks)], 0)
        spare = dict.fromkeys(asked, 0)
        for each in self.store.holdings.held(namespace).values():
            asked[each.resource] = asked.get(each.resource, 0) + each.asked
            if each.asked:
                spare[each.resource] = spare.get(each.resource, 0) + each.each
        return NamespaceUse(asked, spare)

    def _priority(self, lane: str) -> int:
        """Read the lane's priority; a lane that does not exist has none."""
        found = self.store.get(ObjectKey(QUEUE_CLASS.name, "", lane)) or {}
        return int(found.get("spec", {}).get("priority", 0))

    def _tell(self, namespace: str) -> None:
        for quota in self.store.quotas(namespace):
            self.changed(quota)


def _used(resource_quota: Object) -> int:
    """Count the GPUs of all pods of a namespace, those that drain and those of others included."""
    used = (resource_quota.get("status") or {}).get("used") or {}
    return sum(int(parse_quantity(amount)) for amount in used.values())  # type: ignore[no-untyped-call, misc]


def _names(quotas: list[ObjectKey]) -> str:
    return ", ".join(quota.name for quota in quotas)


def _name(key: ObjectKey) -> str:
    return f"{key.namespace}/{key.name}"


def _key(name: str) -> ObjectKey:
    namespace, _, own = name.partition("/")
    return ObjectKey("ModelDeployment", namespace, own)
