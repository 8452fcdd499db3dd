"""Traefik: Middlewares that a route names as filters; they act in the order in which they stand.

ForwardAuth has the owner's service say who calls. Rates and requests in flight are counted in each Traefik by
itself and to the same number for all, so they are set where one tenant alone may call, and only ever refuse
what the guard would refuse as well. Not used: `buffering`, which holds back answers too: none would stream.
"""

from collections.abc import Iterator
from typing import Final

from pilothouse.api.common import Object
from pilothouse.api.tenantquota import Limits
from pilothouse.gateways.dialect import (
    HELD,
    LOCAL_MULTIPLE,
    GatewayUse,
    Part,
    Proof,
    RouteParts,
    Tenant,
    why_not_asked,
)
from pilothouse.names import CREDENTIAL_HEADERS, FORWARD_AUTH, Header

_GROUP: Final = "traefik.io"
_API_VERSION: Final = f"{_GROUP}/v1alpha1"
_KIND: Final = "Middleware"


class Traefik:
    """Sets up routes; beside the Gateway it needs nothing."""

    def parts(self, use: GatewayUse) -> list[Part]:
        """Return nothing: Traefik takes Middlewares from the namespace of the route that names them."""
        del use
        return []

    def route_parts(self, use: GatewayUse, name: str, tenants: tuple[Tenant, ...]) -> RouteParts:
        """Return the Middlewares of one route: first who calls, then how much."""
        if not tenants or _why_no_service(use):
            return RouteParts()
        middlewares = tuple(
            Part(_API_VERSION, _KIND, f"{name}-{suffix}", spec) for suffix, spec in _specs(use, tenants)
        )
        return RouteParts(tuple(_filter(part.name) for part in middlewares), middlewares)

    def names_callers(self, use: GatewayUse) -> bool:
        """Believe the Gateway's owner; what ForwardAuth says is set on the route, after all is removed."""
        return use.proof is Proof.EXTERNAL

    def why_unnamed(self, use: GatewayUse, tenant: Tenant) -> str:
        """Have callers proven by a service of the owner's, or by the owner's own means."""
        del tenant
        return HELD if use.proof is Proof.EXTERNAL else _why_no_service(use)

    def why_no_rate(self, use: GatewayUse, tenant: Tenant, limit: str) -> str:
        """Hold no rates: what each Traefik counts for each route is no limit of a tenant's."""
        del tenant, limit
        return f"{use.title} counts in each Traefik and for each route by itself"


def _why_no_service(use: GatewayUse) -> str:
    if use.proof is not Proof.FORWARD_AUTH:
        return why_not_asked(use, Proof.FORWARD_AUTH, Proof.EXTERNAL)
    if not use.annotations.get(FORWARD_AUTH):
        return f"{use.title} does not say who knows its callers: annotate it with {FORWARD_AUTH}, a URL"
    return HELD


def _specs(use: GatewayUse, tenants: tuple[Tenant, ...]) -> Iterator[tuple[str, Object]]:
    yield (
        "callers",
        {
            "forwardAuth": {
                "address": use.annotations[FORWARD_AUTH],
                "authResponseHeaders": [Header.TENANT.value, Header.USER.value],
            }
        },
    )
    # Empty means gone. A route's own filter would take them away before anybody was asked.
    yield "credentials", {"headers": {"customRequestHeaders": dict.fromkeys(CREDENTIAL_HEADERS, "")}}
    if len(tenants) == 1:
        yield from _counts("tenant", Header.TENANT, tenants[0].callers.per_tenant)
        yield from _counts("user", Header.USER, tenants[0].callers.per_user)


def _counts(whose: str, header: Header, limits: Limits) -> Iterator[tuple[str, Object]]:
    source = {"requestHeaderName": header.value}
    if most := limits.requests_per_minute:
        most *= LOCAL_MULTIPLE
        rate = {"average": most, "period": "1m", "burst": most, "sourceCriterion": source}
        yield f"{whose}-requests", {"rateLimit": rate}
    if most := limits.concurrent_requests:
        yield f"{whose}-concurrency", {"inFlightReq": {"amount": most, "sourceCriterion": source}}


def _filter(name: str) -> Object:
    return {"type": "ExtensionRef", "extensionRef": {"group": _GROUP, "kind": _KIND, "name": name}}
