"""The frozen input of every decision: one ModelDeployment, its references, its children and the time.

`observe.gather` builds it, the rest of `plan` only reads it, so that a decision can be replayed from one
value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import FetchStatus, PreflightStatus
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.api.tenantquota import Callers, TenantQuota
from pilothouse.plan.peers import Peer
from pilothouse.plan.readings import Reading
from pilothouse.plan.room import Room

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class ObjectKey(NamedTuple):
    """Names one object in the cluster; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Object) -> ObjectKey:
    """Key of a full object (one with `kind` and `metadata`)."""
    meta = obj["metadata"]
    return ObjectKey(obj["kind"], meta.get("namespace", ""), meta["name"])


@dataclass(frozen=True, slots=True)
class Observed:
    """All that one reconcile may know.

    `queue_class` and `policy` are None where the name that the spec gives leads nowhere, or to one that
    can't be read: `unreadable` says by kind why. `policy` is the built-in one where the spec names none.
    `license_policies` and `approvals` are by name, None for one that can't be read;
    `demands_license_policy` says that without any policy nothing may be served. `room` is what the
    namespace's TenantQuota lets it have at this moment. `pods` is empty unless a Deployment of this
    ModelDeployment lacks ready replicas or a rollout is under way: pods are read on demand, never watched.
    `reachable` counts by revision the pods that its Service names as ready, while a rollout is under way.
    `readings` are the counters of the engines that were read just now, `unread` says by pod uid why one
    could not be; an empty uid stands for Prometheus. `recent` is what the engines had counted a few seconds
    before, where samples are rarer. `preflights` holds by pod uid the tests that have ended. `peers` are the
    other ModelDeployments that follow the same policy or whose rollout failed.
    `served_kinds` holds the optional kinds that the API server serves (`HTTPRoute`, `Gateway`). `gateways`
    holds the Gateways that the route's parentRefs name and that exist, `controllers` by Gateway who serves
    it, `gateway_parts` by Gateway what lies beside it for its callers. `tenants` are by name the TenantQuotas
    whose callers this model serves, None for one that can't be read: its callers are not served. `fetch` is
    how far the fetch in one of the pods has come. `pod_files` is the code that new pods are given, by file
    name, and `hub` where they find hf:// artifacts, empty for the hub itself. `allowed_namespaces` may reach
    the pods; all may where there are none. `refusals` holds what the API server said when it refused a
    planned child in this very reconcile.
    """

    now: datetime
    deployment: ModelDeployment
    queue_class: QueueClass | None
    policy: RolloutPolicySpec | None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    license_policies: Mapping[str, LicensePolicySpec | None] = field(default_factory=dict)
    approvals: Mapping[str, LicenseApprovalSpec | None] = field(default_factory=dict)
    demands_license_policy: bool = False
    room: Room = field(default_factory=Room)
    children: Mapping[ObjectKey, Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    reachable: Mapping[str, int] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    recent: SamplingStatus | None = None
    preflights: Mapping[str, PreflightStatus] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()
    gateways: Mapping[ObjectKey, Object] = field(default_factory=dict)
    controllers: Mapping[ObjectKey, str] = field(default_factory=dict)
    gateway_parts: Mapping[ObjectKey, Mapping[ObjectKey, Object]] = field(default_factory=dict)
    served_kinds: frozenset[str] = frozenset()
    tenants: Mapping[str, TenantQuota | None] = field(default_factory=dict)
    fetch: FetchStatus | None = None
    pod_files: Mapping[str, str] = field(default_factory=dict)
    hub: str = ""
    allowed_namespaces: tuple[str, ...] = ()
    refusals: Mapping[ObjectKey, str] = field(default_factory=dict)

    @property
    def callers(self) -> dict[str, Callers]:
        """How much the callers may ask for whom this model serves, by TenantQuota."""
        read = (quota for quota in self.tenants.values() if quota)
        return {quota.metadata.name: quota.spec.callers for quota in read if quota.spec.callers}

    def children_of_kind(self, kind: str) -> list[Object]:
        """Live children of one kind, by name."""
        return [self.children[key] for key in sorted(self.children) if key.kind == kind]

    def child(self, kind: str, name: str) -> Object | None:
        """Return the live child of this kind and name, if there is one."""
        return self.children.get(ObjectKey(kind, self.deployment.metadata.namespace, name))
