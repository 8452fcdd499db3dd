"""Puts together all that one reconcile may know."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from pilothouse.api.common import Resource, field_errors
from pilothouse.api.licenseapproval import LicenseApproval, LicenseApprovalSpec
from pilothouse.api.licensepolicy import LicensePolicy, LicensePolicySpec
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import FetchStatus, PreflightStatus
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import BUILT_IN, RolloutPolicy, RolloutPolicySpec
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.kinds import (
    DEPLOYMENT,
    GATEWAY,
    LICENSE_APPROVAL,
    LICENSE_POLICY,
    TENANT_QUOTA,
    Kind,
)
from pilothouse.observe.callers import tenants
from pilothouse.observe.measured import Measured
from pilothouse.observe.peers import peers
from pilothouse.observe.references import references
from pilothouse.observe.store import Store
from pilothouse.observe.targets import drains, rolls_out
from pilothouse.observe.traffic import controllers, gateway_parts
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of

_Read = TypeVar("_Read", bound=Resource)

ListPods = Callable[[ObjectKey], Awaitable[list[Object]]]
"""Lists the pods of a ModelDeployment."""

CountReachable = Callable[[ObjectKey], Awaitable[Mapping[str, int]]]
"""Counts by revision the pods of a ModelDeployment that its Services name."""

MeasureRollout = Callable[
    [ModelDeployment, RolloutPolicySpec | None, Sequence[Object], datetime], Awaitable[Measured]
]
"""Reads the engines' counters, of these pods at this time; `observe.measure` says of which."""

Preflights = Callable[[Observed], Mapping[str, PreflightStatus]]
"""Starts the preflight of new canary pods, and returns by uid those that have ended."""


LookAtFetches = Callable[[Sequence[Object]], Awaitable[FetchStatus | None]]
"""Asks the fetches in these pods how far they have come."""


CountRecent = Callable[[Observed], SamplingStatus | None]
"""Returns the engines' counters of a few seconds ago, and counts those that were read now."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks into the pods themselves; only a rollout measures and examines."""

    measure: MeasureRollout
    recent: CountRecent
    preflights: Preflights
    fetches: LookAtFetches


@dataclass(frozen=True, slots=True)
class Installation:
    """What this operator was installed with, and gives to new pods."""

    pod_files: Mapping[str, str]
    hub: str
    demands_license_policy: bool = False
    allowed_namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gather:
    """Builds `Observed` from the Store.

    Pods are asked for only while some are not ready or a rollout is under way, engines and what Services name
    only then.
    """

    store: Store
    list_pods: ListPods
    reachable: CountReachable
    looks: Looks
    installation: Installation
    now: Callable[[], datetime]

    async def __call__(self, live: Object) -> Observed:
        """Observe one ModelDeployment.

        Raises pydantic's ValidationError for an object that does not hold to this schema, and what
        `list_pods` and `reachable` raise.
        """
        key, now = key_of(live), self.now()
        deployment = ModelDeployment.parse(live)
        children, gateways = self.store.children(key, live["metadata"]["uid"]), self._gateways(live)
        queue_class, lane_flaw = self._read(QueueClass, deployment.spec.queue_class_name)
        policy, policy_flaw = self._policy(deployment)
        under_way = rolls_out(deployment)
        wanted = under_way or drains(deployment) or _lacks_pods(children.values())
        pods = await self.list_pods(key) if wanted else ()
        reachable = await self.reachable(key) if under_way else {}
        measured = await self.looks.measure(deployment, policy, pods, now) if under_way else Measured()
        fetch = await self.looks.fetches(pods)
        observed = Observed(
            now=now,
            deployment=deployment,
            queue_class=queue_class,
            policy=policy,
            unreadable={QueueClass.__name__: lane_flaw, RolloutPolicy.__name__: policy_flaw},
            license_policies=self._license_policies(),
            approvals=self._approvals(),
            demands_license_policy=self.installation.demands_license_policy,
            children=children,
            pods=tuple(pods),
            reachable=reachable,
            readings=measured.readings,
            unread=measured.unread,
            peers=peers(self.store, live),
            gateways=gateways,
            controllers=controllers(self.store, gateways),
            gateway_parts=gateway_parts(self.store, gateways),
            served_kinds=self.store.served_kinds,
            tenants=tenants(self._all(TENANT_QUOTA), deployment),
            fetch=fetch,
            pod_files=self.installation.pod_files,
            hub=self.installation.hub,
            allowed_namespaces=self.installation.allowed_namespaces,
        )
        return replace(
            observed, recent=self.looks.recent(observed), preflights=self.looks.preflights(observed)
        )

    def _policy(self, deployment: ModelDeployment) -> tuple[RolloutPolicySpec | None, str]:
        name = deployment.spec.rollout.policy_name
        if name is None:
            return BUILT_IN, ""
        policy, flaw = self._read(RolloutPolicy, name)
        return policy.spec if policy else None, flaw

    def _read(self, model: type[_Read], name: str) -> tuple[_Read | None, str]:
        """Return what is referred to, or None and why it can't be read: an older schema let it in."""
        obj = self.store.get(ObjectKey(model.__name__, "", name))
        try:
            return model.parse(obj) if obj else None, ""
        except ValidationError as error:
            return None, "; ".join(f"{each.path}: {each.message}" for each in field_errors(error))

    def _license_policies(self) -> dict[str, LicensePolicySpec | None]:
        found = self._all(LICENSE_POLICY)
        return {obj["metadata"]["name"]: _policy_or_none(obj) for obj in found}

    def _approvals(self) -> dict[str, LicenseApprovalSpec | None]:
        found = self._all(LICENSE_APPROVAL)
        return {obj["metadata"]["name"]: _approval_or_none(obj) for obj in found}

    def _all(self, kind: Kind) -> Iterator[Object]:
        return (obj for key in self.store.keys(kind) if (obj := self.store.get(key)))

    def _gateways(self, live: Object) -> dict[ObjectKey, Object]:
        keys = (key for key in references(live) if key.kind == GATEWAY.name)
        return {key: gateway for key in keys if (gateway := self.store.get(key))}


def _policy_or_none(obj: Object) -> LicensePolicySpec | None:
    try:
        return LicensePolicy.parse(obj).spec
    except ValidationError:
        return None


def _approval_or_none(obj: Object) -> LicenseApprovalSpec | None:
    try:
        return LicenseApproval.parse(obj).spec
    except ValidationError:
        return None


def _lacks_pods(children: Iterable[Object]) -> bool:
    """Tell whether a child Deployment has fewer ready pods than it asks for."""
    return any(
        (child.get("status") or {}).get("readyReplicas", 0) < child["spec"].get("replicas", 1)
        for child in children
        if child["kind"] == DEPLOYMENT.name
    )
