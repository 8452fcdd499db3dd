"""Who may call a model, and what of a tenant's limits one engine pod holds.

A pod can't know what the others do, so each holds its share. Rates are split exactly. Concurrency is rounded
up: rounded down, a limit smaller than the number of pods would refuse all.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pilothouse.api.tenantquota import Limits, TenantQuota
from pilothouse.plan.enforcement import GATEWAY
from pilothouse.plan.observed import Object, Observed

_Field = Callable[[Limits], int | None]

_RATES: Final[dict[str, _Field]] = {
    "requests": lambda limits: limits.requests_per_minute,
    "inputTokens": lambda limits: limits.input_tokens_per_minute,
    "outputTokens": lambda limits: limits.output_tokens_per_minute,
}
"""By their names in the settings."""
_DIGITS: Final = 6


def knows_callers(observed: Observed) -> bool:
    """Say whether only known callers are served: some tenant could prove itself, or is asked for by name."""
    return bool(observed.tenants or _invited(observed))


def unknown_tenants(observed: Observed) -> list[str]:
    """Name those whom the route lets in and whom no TenantQuota gives callers."""
    return [tenant for tenant in _invited(observed) if tenant not in observed.callers]


def tenant_limits(observed: Observed) -> Object:
    """Return by tenant that may call what the guard of each pod enforces.

    Left out is what nobody set, and what the gateways hold: they see all pods, and shares would refuse more.
    """
    lane, pods = observed.deployment.spec.queue_class_name, max(1, _ready_pods(observed))
    quotas = sorted((name, quota) for name, quota in observed.tenants.items() if quota)
    return {name: dict(_limits(quota, lane, pods)) for name, quota in quotas}


def _limits(quota: TenantQuota, lane: str, pods: int) -> Iterator[tuple[str, object]]:
    callers = quota.spec.callers
    if not callers:
        return
    lanes = callers.per_queue_class.get(lane, Limits())
    together = (_left("perTenant", callers.per_tenant, quota), lanes)
    each = (_left("perUser", callers.per_user, quota),)
    if (most := _least(together, _concurrency)) is not None:
        yield "concurrentRequests", math.ceil(most / pods)
    if (most := _least(each, _concurrency)) is not None:
        yield "perUserConcurrentRequests", math.ceil(most / pods)
    if rates := dict(_rates(together, pods)):
        yield "perMinute", rates
    if rates := dict(_rates(each, pods)):
        yield "perUserPerMinute", rates


def _left(group: str, limits: Limits, quota: TenantQuota) -> Limits:
    """Take out what the gateways hold, by what the TenantQuota's status says of it."""
    held = {each.limit for each in quota.status.enforcement if each.enforced and each.where == GATEWAY}
    if f"{group}.requestsPerMinute" not in held:
        return limits
    return limits.model_copy(update={"requests_per_minute": None})


def _concurrency(limits: Limits) -> int | None:
    return limits.concurrent_requests


def _rates(limits: Sequence[Limits], pods: int) -> Iterator[tuple[str, float]]:
    for kind, field in _RATES.items():
        if (most := _least(limits, field)) is not None:
            yield kind, round(most / pods, _DIGITS)


def _least(limits: Sequence[Limits], field: _Field) -> int | None:
    """Return the strictest of several limits for the same requests."""
    return min((limit for each in limits if (limit := field(each)) is not None), default=None)


def _invited(observed: Observed) -> tuple[str, ...]:
    route = observed.deployment.spec.route
    return route.allow_tenants if route else ()


def _ready_pods(observed: Observed) -> int:
    """Count the pods of all revisions: between them the callers of one tenant are spread."""
    live = observed.children_of_kind("Deployment")
    return sum((child.get("status") or {}).get("readyReplicas", 0) for child in live)
