"""What of the declared limits is held in this cluster, what is not, and what to do about it.

Limits come from the status of each TenantQuota, which the operator writes; what else stands open is looked
for here.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from pilothouse.api.tenantquota import TenantQuota
from pilothouse.cli.cluster import Cluster
from pilothouse.errors import Terminal
from pilothouse.kinds import (
    BACKEND_TRAFFIC_POLICY,
    CHILDREN_SELECTOR,
    CLIENT_TRAFFIC_POLICY,
    GATEWAY,
    GATEWAY_CLASS,
    HTTP_ROUTE,
    MIDDLEWARE,
    MODEL_DEPLOYMENT,
    NETWORK_POLICY,
    SECRET,
    SECURITY_POLICY,
    TENANT_QUOTA,
    Kind,
)
from pilothouse.names import DEPLOYMENT, PROMPT_KEY_SECRET
from pilothouse.observe.routed import routed_of
from pilothouse.plan.observed import Object
from pilothouse.plan.traffic import RoutedModel

_GATEWAY_API: Final = (GATEWAY, GATEWAY_CLASS, HTTP_ROUTE)
_NEEDED: Final = {
    "gateway.envoyproxy.io/gatewayclass-controller": (
        SECURITY_POLICY,
        CLIENT_TRAFFIC_POLICY,
        BACKEND_TRAFFIC_POLICY,
    ),
    "traefik.io/gateway-controller": (MIDDLEWARE,),
}
"""By controller the kinds that its dialect makes objects of."""


class State(StrEnum):
    """How a finding stands."""

    HELD = "Held"
    NOT_HELD = "NotHeld"
    HINT = "Hint"
    """Nothing that was declared is broken; this could be better."""


class Finding(BaseModel):
    """One limit, or one thing that stands open."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, validate_by_name=True)

    subject: str
    what: str
    state: State
    where: str = ""
    reason: str = ""


async def doctor(cluster: Cluster) -> list[Finding]:
    """Look at the whole cluster."""
    kinds = [finding async for finding in _kinds(cluster)]
    quotas = await cluster.list(TENANT_QUOTA, "")
    models = [routed_of(obj) for obj in await cluster.list(MODEL_DEPLOYMENT, "")]
    fences = await cluster.list(NETWORK_POLICY, "", CHILDREN_SELECTOR)
    limits = [finding for quota in sorted(quotas, key=_name) for finding in _limits(quota)]
    return [
        *kinds,
        *limits,
        # With nobody to be told apart, an open pod is as it was meant.
        *_open_pods(sorted(models), fences, State.NOT_HELD if limits else State.HINT),
        *(_unguarded(model) for model in sorted(models) if not model.guarded),
        *[finding async for finding in _prompt_keys(cluster, models)],
    ]


async def _kinds(cluster: Cluster) -> AsyncIterator[Finding]:
    missing = [kind for kind in _GATEWAY_API if not await _is_served(cluster, kind)]
    for kind in missing:
        yield _missing(kind, "install the Gateway API: without it nothing has a route")
    classes = [] if missing else await cluster.list(GATEWAY_CLASS, "")
    for controller in sorted({obj["spec"]["controllerName"] for obj in classes} & _NEEDED.keys()):
        for kind in _NEEDED[controller]:
            if not await _is_served(cluster, kind):
                yield _missing(kind, f"install the CRDs of {controller}: its callers can't be told apart")


async def _is_served(cluster: Cluster, kind: Kind) -> bool:
    return kind.plural in await cluster.served(kind.group, kind.version)


def _missing(kind: Kind, reason: str) -> Finding:
    return Finding(subject="Cluster", what=f"{kind.plural}.{kind.group}", state=State.NOT_HELD, reason=reason)


def _limits(obj: Object) -> Iterator[Finding]:
    subject = f"TenantQuota {_name(obj)}"
    try:
        quota = TenantQuota.parse(obj)
    except ValidationError:
        reason = "it does not hold to this release's schema: apply it again"
        yield Finding(subject=subject, what="callers", state=State.NOT_HELD, reason=reason)
        return
    if quota.spec.callers and quota.status.observed_generation < quota.metadata.generation:
        reason = "the operator has not looked at it as it is now: see whether it runs"
        yield Finding(subject=subject, what="callers", state=State.NOT_HELD, reason=reason)
    for entry in quota.status.enforcement:
        state = State.HELD if entry.enforced else State.NOT_HELD
        yield Finding(subject=subject, what=entry.limit, state=state, where=entry.where, reason=entry.reason)


def _open_pods(models: Iterable[RoutedModel], fences: Iterable[Object], state: State) -> Iterator[Finding]:
    fenced = {(each["metadata"]["namespace"], each["metadata"]["labels"].get(DEPLOYMENT)) for each in fences}
    reason = "every pod of the cluster reaches it, as any caller: set network.allowedNamespaces of the chart"
    for model in models:
        if (model.key.namespace, model.key.name) not in fenced:
            yield Finding(subject=model.title, what="NetworkPolicy", state=state, reason=reason)


def _unguarded(model: RoutedModel) -> Finding:
    reason = "any caller whom its Gateway lets in may call it, and as much: set spec.engine.guard: Enabled"
    return Finding(subject=model.title, what="guard", state=State.HINT, reason=reason)


async def _prompt_keys(cluster: Cluster, models: Iterable[RoutedModel]) -> AsyncIterator[Finding]:
    for namespace in sorted({model.key.namespace for model in models if model.guarded}):
        if reason := await _why_no_prompt_key(cluster, namespace):
            yield Finding(
                subject=f"Namespace {namespace}", what="prompt key", state=State.HINT, reason=reason
            )


async def _why_no_prompt_key(cluster: Cluster, namespace: str) -> str:
    try:
        found = await cluster.names(SECRET, namespace)
    except Terminal as error:
        return f"can't tell whether there is a Secret {PROMPT_KEY_SECRET}: {error}"
    if PROMPT_KEY_SECRET in found:
        return ""
    return f"hashes of prompts can't be compared between pods: create a Secret {PROMPT_KEY_SECRET}, key `key`"


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
