"""What a dialect answers, and what it is asked about: a Gateway, who calls through it, what lies beside it.

Pure. A dialect says which objects it wants, never how they are owned or applied; and of what it can't do it
says why, in words that name what to do about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from pilothouse.api.common import Object
from pilothouse.api.tenantquota import Callers
from pilothouse.names import CALLERS


class Proof(StrEnum):
    """How callers prove who they are at a Gateway; its owner says it by an annotation."""

    API_KEYS = "APIKeys"
    JWT = "JWT"
    FORWARD_AUTH = "ForwardAuth"
    """A service of the owner's says who calls."""
    EXTERNAL = "External"
    """The Gateway's owner has seen to all of it: it sets the naming headers, and no client can."""


HELD: Final = ""
"""Instead of a reason why not."""

LOCAL_MULTIPLE: Final = 10
"""How many times a rate each proxy lets through by itself, where the guard holds the limit.

Its minute and the guard's begin at different moments: with the limit itself, what one let through and the
other refused would be lost to the tenant, a third of the first minute's as measured.
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A TenantQuota with callers."""

    name: str
    callers: Callers


@dataclass(frozen=True, slots=True)
class Part:
    """An object that a dialect wants; who owns it and where it lies is not the dialect's."""

    api_version: str
    kind: str
    name: str
    spec: Object


@dataclass(frozen=True, slots=True)
class GatewayUse:
    """One Gateway and what it is used for.

    `tenants` may call a model through it, the longest known first. `largest_body` is the longest request that
    any of these models takes, in bytes. `live` holds by kind and name what is there of the Gateway's parts.
    """

    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    tenants: tuple[Tenant, ...] = ()
    largest_body: int = 0
    live: Mapping[tuple[str, str], Object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name it for people."""
        return f"Gateway {self.namespace}/{self.name}"

    @property
    def proof(self) -> Proof | None:
        """How callers prove who they are here; None where the owner has not said it, or said nonsense."""
        said = self.annotations.get(CALLERS)
        return next((proof for proof in Proof if proof == said), None)


@dataclass(frozen=True, slots=True)
class RouteParts:
    """What one route wants of its gateway: filters in the order in which they act, and their objects."""

    filters: tuple[Object, ...] = ()
    parts: tuple[Part, ...] = ()


class Dialect(Protocol):
    """One kind of gateway."""

    def parts(self, use: GatewayUse) -> list[Part]:
        """Return the objects that lie beside the Gateway; none where it has no callers to tell apart."""

    def route_parts(self, use: GatewayUse, name: str, tenants: tuple[Tenant, ...]) -> RouteParts:
        """Return what the route of a model of this name wants, whom these tenants may call."""

    def names_callers(self, use: GatewayUse) -> bool:
        """Say whether the naming headers are the gateway's own when they reach a route."""

    def why_unnamed(self, use: GatewayUse, tenant: Tenant) -> str:
        """Say why this tenant's callers can't prove who they are here; HELD where they can."""

    def why_no_rate(self, use: GatewayUse, tenant: Tenant, limit: str) -> str:
        """Say why the gateway does not hold this limit of requests by the minute; HELD where it does."""


def why_not_asked(use: GatewayUse, *choices: Proof) -> str:
    """Say that the Gateway's owner has not said how callers prove who they are, or not in a way it can do."""
    said, listed = use.annotations.get(CALLERS), " or ".join(choices)
    if not said:
        return f"{use.title} tells no callers apart: annotate it with {CALLERS}: {listed}"
    return f"{use.title} can't do {CALLERS}: {said}; it takes {listed}"
