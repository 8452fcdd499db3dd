"""Who may call what through which Gateway, and what each Gateway is given for it.

One value holds all of the cluster that decides about callers, so that the objects beside a Gateway and what a
TenantQuota's status says of them are made of the same facts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple

from pilothouse import names
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.gateways.dialect import Dialect, GatewayUse, Part, Tenant
from pilothouse.gateways.registry import dialect_of
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.types import Plan

SMALLEST_BODY_BOUND: Final = 1 << 20
BYTES_PER_TOKEN: Final = 64
"""The guard's own bound of a body, which a test compares."""


class RoutedModel(NamedTuple):
    """A ModelDeployment as callers see it: which Gateways it is behind, and whom its route lets in."""

    key: ObjectKey
    lane: str
    guarded: bool
    gateways: tuple[ObjectKey, ...]
    invited: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name it for people."""
        return f"ModelDeployment {self.key.namespace}/{self.key.name}"


@dataclass(frozen=True)
class Traffic:
    """All that decides about callers.

    `controllers` names by Gateway the controller of its GatewayClass. `parts` are by Gateway the objects that
    are there for it. `input_tokens` is by QueueClass the longest prompt.
    """

    gateways: Mapping[ObjectKey, Object] = field(default_factory=dict)
    controllers: Mapping[ObjectKey, str] = field(default_factory=dict)
    parts: Mapping[ObjectKey, Mapping[ObjectKey, Object]] = field(default_factory=dict)
    models: tuple[RoutedModel, ...] = ()
    quotas: tuple[TenantQuota, ...] = ()
    input_tokens: Mapping[str, int] = field(default_factory=dict)
    served_kinds: frozenset[str] = frozenset()

    def models_of(self, quota: TenantQuota) -> list[RoutedModel]:
        """Return the models behind a Gateway that the tenant's callers may call."""
        return [model for model in self.models if model.gateways and may_call(quota, model)]

    def dialect(self, gateway: ObjectKey) -> Dialect:
        """Return the dialect that the Gateway speaks."""
        return dialect_of(self.controllers.get(gateway, ""))

    def use(self, gateway: ObjectKey) -> GatewayUse:
        """Say what the Gateway is used for."""
        if gateway not in self._uses:
            self._uses[gateway] = self._use(gateway)
        return self._uses[gateway]

    @cached_property
    def _uses(self) -> dict[ObjectKey, GatewayUse]:
        return {}

    @cached_property
    def _behind(self) -> Mapping[ObjectKey, list[RoutedModel]]:
        behind = defaultdict(list)
        for model in self.models:
            for gateway in model.gateways:
                behind[gateway].append(model)
        return behind

    def _use(self, gateway: ObjectKey) -> GatewayUse:
        behind = self._behind.get(gateway, [])
        quotas = [quota for quota in self.quotas if any(may_call(quota, model) for model in behind)]
        tokens = max((self.input_tokens.get(model.lane, 0) for model in behind), default=0)
        return GatewayUse(
            namespace=gateway.namespace,
            name=gateway.name,
            annotations=annotations_of(self.gateways.get(gateway)),
            tenants=tenants_of(quotas),
            largest_body=max(SMALLEST_BODY_BOUND, BYTES_PER_TOKEN * tokens),
            live=live_parts(self.parts.get(gateway, {})),
        )


def may_call(quota: TenantQuota, model: RoutedModel) -> bool:
    """Say whether callers of this tenant may call the model: its own, or one that lets it in."""
    own = model.key.namespace in quota.spec.namespaces
    return bool(quota.spec.callers) and (own or quota.metadata.name in model.invited)


def tenants_of(quotas: Iterable[TenantQuota]) -> tuple[Tenant, ...]:
    """Return those with callers, the longest known first."""
    aged = sorted(quotas, key=_age)
    return tuple(Tenant(each.metadata.name, each.spec.callers) for each in aged if each.spec.callers)


def annotations_of(gateway: Object | None) -> Mapping[str, str]:
    """Return the annotations of a Gateway that may be gone."""
    return (gateway or {"metadata": {}})["metadata"].get("annotations") or {}


def live_parts(parts: Mapping[ObjectKey, Object]) -> dict[tuple[str, str], Object]:
    """Return a Gateway's parts as its dialect looks them up."""
    return {(key.kind, key.name): obj for key, obj in parts.items()}


def gateway_plan(traffic: Traffic, gateway: Object) -> Plan:
    """Decide what lies beside a Gateway: what its dialect wants for those who call through it."""
    key = key_of(gateway)
    parts = traffic.dialect(key).parts(traffic.use(key))
    objects = tuple(_owned(part, gateway) for part in parts if part.kind in traffic.served_kinds)
    wanted, live = {key_of(obj) for obj in objects}, traffic.parts.get(key, {})
    prunes = tuple(sorted(live.keys() - wanted, reverse=True))
    return Plan(objects=objects, prunes=prunes, status={}, events=(), requeue_after=None)


def _owned(part: Part, gateway: Object) -> Object:
    owner = gateway["metadata"]
    return {
        "apiVersion": part.api_version,
        "kind": part.kind,
        "metadata": {
            "name": part.name,
            "namespace": owner["namespace"],
            "labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE},
            "ownerReferences": [
                {
                    "apiVersion": gateway["apiVersion"],
                    "kind": gateway["kind"],
                    "name": owner["name"],
                    "uid": owner["uid"],
                    "controller": True,
                    # To hold up the deletion of a Gateway is not ours.
                    "blockOwnerDeletion": False,
                },
            ],
        },
        "spec": part.spec,
    }


def _age(quota: TenantQuota) -> tuple[datetime, str]:
    return quota.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC), quota.metadata.name
