"""Who asks for GPUs and who has them: of each object the few numbers that a TenantQuota counts.

They are read from the raw object once for each version of it, so that a decision about one of 2,000
ModelDeployments need not read the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pilothouse.kinds import DEPLOYMENT, MODEL_DEPLOYMENT
from pilothouse.names import QUEUE_CLASS
from pilothouse.plan.capacity import Strategy
from pilothouse.plan.gpuroom import gpus_by_resource
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

    @property
    def held(self) -> int:
        """What counts: pods that are to go are there until the Deployment's controller has seen it."""
        return max(self.asked, self.active)


@dataclass(frozen=True, slots=True)
class Holdings:
    """All of them, by namespace."""

    _asks: dict[str, dict[ObjectKey, Ask]] = field(default_factory=dict)
    _held: dict[str, dict[ObjectKey, Holding]] = field(default_factory=dict)

    def place(self, key: ObjectKey, obj: Object, owner: ObjectKey | None) -> None:
        """Take in an object of any kind."""
        if key.kind == MODEL_DEPLOYMENT.name:
            self._asks.setdefault(key.namespace, {})[key] = _ask(obj)
        elif key.kind == DEPLOYMENT.name and owner:
            self._held.setdefault(key.namespace, {})[key] = _holding(obj, owner)

    def forget(self, key: ObjectKey) -> None:
        """Drop an object of any kind."""
        for index in (self._asks, self._held):
            if key.namespace in index:
                index[key.namespace].pop(key, None)

    def asks(self, namespace: str) -> Mapping[ObjectKey, Ask]:
        """Return the ModelDeployments of a namespace."""
        return self._asks.get(namespace, {})

    def held(self, namespace: str) -> Mapping[ObjectKey, Holding]:
        """Return the Deployments of a namespace."""
        return self._held.get(namespace, {})


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
        lane=((template.get("metadata") or {}).get("labels") or {}).get(QUEUE_CLASS, ""),
        resource=next(iter(gpus), _DEFAULT_RESOURCE),
        asked=_count(spec.get("replicas", 1)) * each,
        active=_count((deployment.get("status") or {}).get("replicas", 0)) * each,
        each=each,
    )


def _count(value: object) -> int:
    """Read a number; what an older schema let in instead asks for nothing."""
    return value if isinstance(value, int) else 0
