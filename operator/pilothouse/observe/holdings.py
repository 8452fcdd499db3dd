"""Who asks for GPUs and who has them: of each object the few numbers that a TenantQuota counts.

They are read from the raw object once for each version of it, so that a decision about one of 2,000
ModelDeployments need not read the others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pilothouse.kinds import DEPLOYMENT, MODEL_DEPLOYMENT
from pilothouse.plan.capacity import Strategy
from pilothouse.plan.gpuroom import gpus_by_resource, lane_of
from pilothouse.plan.observed import Object, ObjectKey

_DEFAULT_RESOURCE = "nvidia.com/gpu"


class Ask(NamedTuple):
    """What a ModelDeployment declares, and where it adds a canary's pods to those, twice as much."""

    lane: str
    since: str
    gpus: int
    unit: int
    resource: str
    rolls_out: bool


class Holding(NamedTuple):
    """GPUs that one Deployment asks for, and those of its pods that exist and are not being deleted."""

    owner: ObjectKey
    lane: str
    resource: str
    asked: int
    active: int
    each: int


class Holdings:
    """All of them, by namespace; who listens is told whose have changed."""

    def __init__(self) -> None:
        self._asks: dict[str, dict[ObjectKey, Ask]] = {}
        self._held: dict[str, dict[ObjectKey, Holding]] = {}
        self._owned: dict[ObjectKey, dict[ObjectKey, Holding]] = {}
        self._listeners: list[Callable[[ObjectKey], None]] = []

    def listen(self, changed: Callable[[ObjectKey], None]) -> None:
        """Have it told of each ModelDeployment that asks for, or has, something else than before."""
        self._listeners.append(changed)

    def place(self, key: ObjectKey, obj: Object, owner: ObjectKey | None) -> None:
        """Take in an object of any kind."""
        if key.kind == MODEL_DEPLOYMENT.name:
            self._asks.setdefault(key.namespace, {})[key] = _ask(obj)
            self._tell(key)
        elif key.kind == DEPLOYMENT.name and owner:
            holding = _holding(obj, owner)
            self._held.setdefault(key.namespace, {})[key] = holding
            self._owned.setdefault(owner, {})[key] = holding
            self._tell(owner)

    def forget(self, key: ObjectKey) -> None:
        """Drop an object of any kind."""
        if self._asks.get(key.namespace, {}).pop(key, None):
            self._tell(key)
        held = self._held.get(key.namespace, {}).pop(key, None)
        if not held:
            return
        del self._owned[held.owner][key]
        if not self._owned[held.owner]:
            del self._owned[held.owner]
        self._tell(held.owner)

    def asks(self, namespace: str) -> Mapping[ObjectKey, Ask]:
        """Return the ModelDeployments of a namespace."""
        return self._asks.get(namespace, {})

    def held(self, namespace: str) -> Mapping[ObjectKey, Holding]:
        """Return the Deployments of a namespace."""
        return self._held.get(namespace, {})

    def of(self, owner: ObjectKey) -> Sequence[Holding]:
        """Return the Deployments of one ModelDeployment."""
        return tuple(self._owned.get(owner, {}).values())

    def _tell(self, key: ObjectKey) -> None:
        for changed in self._listeners:
            changed(key)


def _ask(deployment: Object) -> Ask:
    metadata, spec = deployment["metadata"], deployment.get("spec") or {}
    status = deployment.get("status") or {}
    gpu = (spec.get("resources") or {}).get("gpu") or {}
    unit = _count(gpu.get("count", 1))
    replicas = 0 if metadata.get("deletionTimestamp") else _count(spec.get("replicas", 1))
    rolls_out = bool(status.get("canary"))
    surges = rolls_out and (status.get("rollout") or {}).get("capacity") != Strategy.IN_PLACE
    return Ask(
        lane=spec.get("queueClassName", ""),
        since=metadata.get("creationTimestamp", ""),
        gpus=replicas * unit * (2 if surges else 1),
        unit=unit,
        resource=gpu.get("resourceName", _DEFAULT_RESOURCE),
        rolls_out=rolls_out,
    )


def _holding(deployment: Object, owner: ObjectKey) -> Holding:
    spec = deployment.get("spec") or {}
    template = spec.get("template") or {}
    gpus = gpus_by_resource(template)
    each = sum(gpus.values())
    return Holding(
        owner=owner,
        lane=lane_of(template),
        resource=next(iter(gpus), _DEFAULT_RESOURCE),
        asked=_count(spec.get("replicas", 1)) * each,
        active=_count((deployment.get("status") or {}).get("replicas", 0)) * each,
        each=each,
    )


def _count(value: object) -> int:
    """Read a number; what an older schema let in instead asks for nothing."""
    return value if isinstance(value, int) else 0
