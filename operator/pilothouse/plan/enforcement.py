"""Where each of a tenant's limits is held, or why it is not and what to do about it.

A limit is held if it is held for every model that the tenant's callers may call; of what stands in the way
the first is said.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pilothouse.api.tenantquota import Callers, Enforcement, Limits, TenantQuota
from pilothouse.gateways.dialect import Tenant
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.routecallers import disagreement
from pilothouse.plan.traffic import RoutedModel, Traffic

GATEWAY: Final = "Gateway"
GUARD: Final = "Guard"

_AUTH: Final = "auth"
_RATES: Final = frozenset({"perTenant.requestsPerMinute", "perUser.requestsPerMinute"})
"""What a gateway can hold at all: it knows neither tokens nor lanes, nor what else is under way elsewhere."""
_EACH_MODEL: Final = "the guard holds it for each model by itself"


def enforcement(quota: TenantQuota, traffic: Traffic) -> tuple[Enforcement, ...]:
    """Say it for every limit that the TenantQuota sets, and for the proof of who calls."""
    callers = quota.spec.callers
    if not callers:
        return ()
    tenant = Tenant(quota.metadata.name, callers)
    models = traffic.models_of(quota)
    unnamed = _why_unnamed(traffic, tenant, models)
    proof = Enforcement(limit=_AUTH, where="" if unnamed else GATEWAY, enforced=not unnamed, reason=unnamed)
    limits = (_held(traffic, tenant, limit, models, unnamed) for limit in limits_of(callers))
    return (proof, *limits)


def limits_of(callers: Callers) -> Iterator[str]:
    """Name the limits that are set, as paths below spec.callers."""
    for path, limits in _groups(callers):
        for name, value in limits.model_dump(by_alias=True).items():
            if value is not None:
                yield f"{path}.{name}"


def _groups(callers: Callers) -> Iterator[tuple[str, Limits]]:
    yield "perTenant", callers.per_tenant
    yield "perUser", callers.per_user
    for lane, limits in callers.per_queue_class.items():
        yield f"perQueueClass.{lane}", limits


def _held(
    traffic: Traffic, tenant: Tenant, limit: str, models: list[RoutedModel], unnamed: str
) -> Enforcement:
    concerned = [model for model in models if _concerns(limit, model)]
    if reason := unnamed or ("" if concerned else "no model with a route is in this lane"):
        return Enforcement(limit=limit, enforced=False, reason=reason)
    no_rate = _why_no_rate(traffic, tenant, limit, concerned)
    if not no_rate:
        return Enforcement(limit=limit, where=GATEWAY, enforced=True)
    if unguarded := next((model for model in concerned if not model.guarded), None):
        reason = f"{unguarded.title} runs without the guard: set spec.engine.guard: Enabled"
        return Enforcement(limit=limit, enforced=False, reason=f"{reason}; {no_rate}")
    note = _EACH_MODEL if len(concerned) > 1 else ""
    return Enforcement(limit=limit, where=GUARD, enforced=True, reason=note)


def _concerns(limit: str, model: RoutedModel) -> bool:
    group, *rest = limit.split(".")
    return group != "perQueueClass" or rest[0] == model.lane


def _why_unnamed(traffic: Traffic, tenant: Tenant, models: list[RoutedModel]) -> str:
    if not models:
        return "no model with a route serves this tenant"
    found = (traffic.dialect(key).why_unnamed(traffic.use(key), tenant) for key in _gateways(models))
    return next(filter(None, (*found, *(disagreement(traffic, model) for model in models))), "")


def _why_no_rate(traffic: Traffic, tenant: Tenant, limit: str, models: list[RoutedModel]) -> str:
    if limit not in _RATES:
        return "no gateway holds it"
    found = (traffic.dialect(key).why_no_rate(traffic.use(key), tenant, limit) for key in _gateways(models))
    return next(filter(None, found), "")


def _gateways(models: Iterable[RoutedModel]) -> list[ObjectKey]:
    return sorted({key for model in models for key in model.gateways})
