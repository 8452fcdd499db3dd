"""What is known of the cluster: the watched objects, by key, by owner and by who refers to them.

Objects are kept as bytes, a quarter of what Python's own dicts take, and read anew for each decision: 2,000
ModelDeployments with their children fit into 40 MB. `marshal` writes them four times as fast as `json`, and
they never leave this process. Versions only move forward: an event that is older than what is known, such as
the echo of our own write, changes nothing.
"""

import marshal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import Final

from pilothouse.kinds import DEPLOYMENT as WORKLOAD
from pilothouse.kinds import (
    GATEWAY,
    GATEWAY_CLASS,
    GOVERNING,
    MODEL_DEPLOYMENT,
    RECONCILED,
    STEERING,
    TENANT_QUOTA,
    WATCHED,
    Kind,
)
from pilothouse.names import DEPLOYMENT, MANAGED_BY, MANAGED_BY_VALUE, RolloutState
from pilothouse.observe.holdings import Holdings
from pilothouse.observe.references import namespace_key, references
from pilothouse.observe.routed import routed_of
from pilothouse.observe.standing import Standing, standing_of
from pilothouse.observe.trim import trim
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.traffic import RoutedModel
from pilothouse.telemetry.metrics import ROLLOUTS, WATCHED_OBJECTS

_RECONCILED: Final = frozenset(kind.name for kind in RECONCILED)
_GOVERNING: Final = frozenset(kind.name for kind in GOVERNING)
_STEERING: Final = frozenset(kind.name for kind in STEERING)
_OWNERS: Final = frozenset({TENANT_QUOTA.name, GATEWAY.name})
"""Kinds beside the ModelDeployment that own objects of ours."""
_COUNTED: Final = frozenset({MODEL_DEPLOYMENT.name, WORKLOAD.name})
"""Kinds whose objects have GPUs, or ask for them."""


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    content: bytes
    owner: ObjectKey | None
    owner_uid: str
    references: frozenset[ObjectKey]


class Store:
    """An in-memory view: upsert and evict, then look up."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[ObjectKey, _Entry]] = {kind.name: {} for kind in WATCHED}
        self._evicted: dict[ObjectKey, int] = {}
        self._children: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._dependants: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._standings: dict[ObjectKey, Standing] = {}
        self._rollouts: dict[ObjectKey, str] = {}
        self._routed: dict[ObjectKey, RoutedModel] = {}
        self._served: frozenset[str] = frozenset()
        self.holdings = Holdings()
        for kind in WATCHED:
            WATCHED_OBJECTS.labels(kind.name).set_function(self._entries[kind.name].__len__)
        for state in RolloutState:
            ROLLOUTS.labels(state).set_function(partial(self._count, state))

    def upsert(self, obj: Object) -> bool:
        """Take in an object; tell whether anything that a decision may read has changed."""
        key, version = _interned(key_of(obj)), version_of(obj)
        known = self._entries[key.kind].get(key)
        if version <= (known.version if known else self._evicted.get(key, 0)):
            return False
        trimmed = trim(obj)
        self._forget(key)
        entry = _entry(trimmed, version)
        self._remember(key, entry)
        self.holdings.place(key, trimmed, entry.owner)
        if key.kind == MODEL_DEPLOYMENT.name:
            self._place(key, trimmed)
        return known is None or _decode(known) != trimmed

    def evict(self, key: ObjectKey, version: int) -> bool:
        """Drop an object that was gone at this version; tell whether it was known.

        A later upsert of an older version, such as the answer to an apply that the deletion overtook, is
        ignored.
        """
        known = self._entries[key.kind].get(key)
        if known and known.version > version:
            return False
        self._evicted[key] = max(version, self._evicted.get(key, 0))
        self._forget(key)
        return known is not None

    def get(self, key: ObjectKey) -> Object | None:
        """Return the object, without its resourceVersion, if it is known."""
        entry = self._entries[key.kind].get(key)
        return _decode(entry) if entry else None

    def live(self, key: ObjectKey) -> Object | None:
        """Return the object with the resourceVersion at which it is known, to be written at that version."""
        obj, version = self.get(key), self.version(key)
        return obj and {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}

    def version(self, key: ObjectKey) -> int | None:
        """Return the version at which the object is known."""
        entry = self._entries[key.kind].get(key)
        return entry.version if entry else None

    def keys(self, kind: Kind) -> list[ObjectKey]:
        """Return the keys of all objects of a kind."""
        return list(self._entries[kind.name])

    def standings(self) -> Iterable[Standing]:
        """Return how those ModelDeployments stand that concern others; at rest that is none."""
        return self._standings.values()

    def routed(self) -> Iterable[RoutedModel]:
        """Return the ModelDeployments as their callers see them, those without a route too."""
        return self._routed.values()

    def children(self, owner: ObjectKey, uid: str) -> dict[ObjectKey, Object]:
        """Return the objects that carry the owner's label and belong to the owner of this uid."""
        entries = ((key, self._entries[key.kind][key]) for key in self._children.get(owner, ()))
        return {key: _decode(entry) for key, entry in entries if entry.owner_uid == uid}

    def affected_by(self, key: ObjectKey) -> frozenset[ObjectKey]:
        """Return what to reconcile when this object changes or goes; ask before evicting it."""
        entry = self._entries[key.kind].get(key)
        itself = {key} if key.kind in _RECONCILED else set()
        owners = {entry.owner} if entry and entry.owner else set()
        governed = self._entries[MODEL_DEPLOYMENT.name] if key.kind in _GOVERNING else ()
        counting = self.quotas(key.namespace) if key.kind in _COUNTED else ()
        tenant = self._tenant(entry) if key.kind == TENANT_QUOTA.name and entry else ()
        return frozenset(
            {
                *(*itself, *owners, *governed, *counting, *tenant, *self._dependants.get(key, ())),
                *self._callers(key, entry),
            }
        )

    def _callers(self, key: ObjectKey, entry: _Entry | None) -> Iterator[ObjectKey]:
        """Name what this object concerns by who calls what through which Gateway."""
        if key.kind in _STEERING:
            yield from self._entries[GATEWAY.name]
        if entry:
            # A model concerns the Gateways that it is behind, and the tenants that it lets in.
            named = (each for each in entry.references if each.kind in _OWNERS)
            yield from (each for each in named if each in self._entries[each.kind])
        beside = entry.owner if entry and entry.owner and entry.owner.kind == GATEWAY.name else None
        if beside:
            # A route believes the headers that what lies beside its Gateway lets through.
            yield from self._dependants.get(beside, ())
        if beside or key.kind in {GATEWAY.name, GATEWAY_CLASS.name}:
            yield from self._entries[TENANT_QUOTA.name]

    def quotas(self, namespace: str) -> list[ObjectKey]:
        """Return the TenantQuotas that name a namespace, by name."""
        return sorted(self._dependants.get(namespace_key(namespace), ()))

    def _tenant(self, quota: _Entry) -> Iterator[ObjectKey]:
        """Name those in a quota's namespaces: the ModelDeployments, and other quotas that name them too."""
        for namespace in quota.references:
            yield from self.holdings.asks(namespace.name)
            yield from self._dependants[namespace]

    def forget_evictions(self, before: int) -> None:
        """Free the memory of evictions that no answer under way can be older than."""
        self._evicted = {key: version for key, version in self._evicted.items() if version >= before}

    @property
    def served_kinds(self) -> frozenset[str]:
        """The optional kinds that the API server has."""
        return self._served

    def serve(self, kinds: Iterable[Kind]) -> None:
        """Say which optional kinds the API server has."""
        self._served = frozenset(kind.name for kind in kinds)

    def _remember(self, key: ObjectKey, entry: _Entry) -> None:
        self._entries[key.kind][key] = entry
        self._evicted.pop(key, None)
        if entry.owner:
            self._children[entry.owner].add(key)
        for reference in entry.references:
            self._dependants[reference].add(key)

    def _place(self, key: ObjectKey, deployment: Object) -> None:
        self._routed[key] = routed_of(deployment)
        if standing := standing_of(deployment):
            self._standings[key] = standing
        if rollout := (deployment.get("status") or {}).get("rollout"):
            self._rollouts[key] = rollout.get("state", "")

    def _count(self, state: RolloutState) -> int:
        return sum(each == state for each in self._rollouts.values())

    def _forget(self, key: ObjectKey) -> None:
        entry = self._entries[key.kind].pop(key, None)
        if entry is None:
            return
        self.holdings.forget(key)
        self._standings.pop(key, None)
        self._rollouts.pop(key, None)
        self._routed.pop(key, None)
        if entry.owner:
            _discard(self._children, entry.owner, key)
        for reference in entry.references:
            _discard(self._dependants, reference, key)


def version_of(obj: Object) -> int:
    """Return the resourceVersion as a number: Kubernetes promises that they can be compared (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


def owner_of(obj: Object) -> ObjectKey | None:
    """Return the ModelDeployment whose label the object carries, else the TenantQuota or Gateway above it."""
    metadata, owner = obj["metadata"], _controller(obj)
    labels, namespace = metadata.get("labels") or {}, metadata.get("namespace", "")
    if name := labels.get(DEPLOYMENT):
        return ObjectKey(MODEL_DEPLOYMENT.name, namespace, name)
    if owner.get("kind") not in _OWNERS or labels.get(MANAGED_BY) != MANAGED_BY_VALUE:
        return None
    return ObjectKey(owner["kind"], "" if owner["kind"] == TENANT_QUOTA.name else namespace, owner["name"])


def _entry(obj: Object, version: int) -> _Entry:
    content = marshal.dumps(obj)
    owner = None if obj["kind"] == MODEL_DEPLOYMENT.name else owner_of(obj)
    uid = _controller(obj).get("uid", "")
    return _Entry(version, content, owner and _interned(owner), uid, references(obj))


def _controller(obj: Object) -> Object:
    owners = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def _decode(entry: _Entry) -> Object:
    obj: Object = marshal.loads(entry.content)  # noqa: S302 -- written by ourselves, in this process
    return obj


def _interned(key: ObjectKey) -> ObjectKey:
    return ObjectKey(*map(intern, key))


def _discard(index: dict[ObjectKey, set[ObjectKey]], at: ObjectKey, key: ObjectKey) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]
