"""Gateways and tenants as dialects are asked about them, and what Envoy Gateway says of a policy."""

from typing import Any

from pilothouse.api.tenantquota import Callers
from pilothouse.gateways.dialect import GatewayUse, Part, Tenant
from pilothouse.gateways.envoy import Envoy

ENVOY = Envoy()
KEYS = {"pilothouse.dev/callers": "APIKeys"}
JWT = {"pilothouse.dev/callers": "JWT"}
GLOBAL = {"pilothouse.dev/rate-limits": "Global"}


def tenant(name: str = "team-ide", **callers: Any) -> Tenant:
    """A tenant with API keys in a Secret of its own."""
    auth = {"apiKeys": {"secretNames": [f"{name}-keys"]}}
    return Tenant(name, Callers.model_validate({"auth": auth, **callers}))


def with_tokens(name: str = "team-ide", **jwt: Any) -> Tenant:
    """A tenant whose callers show tokens."""
    said = {
        "issuer": "https://login.example.com",
        "audiences": ["models"],
        "jwksURI": "https://login.example.com/jwks.json",
        **jwt,
    }
    return Tenant(name, Callers.model_validate({"auth": {"jwt": said}}))


def use(*tenants: Tenant, annotations: dict[str, str] | None = None, live: Any = None) -> GatewayUse:
    """The Gateway `models`, used by these tenants, who have API keys unless it says otherwise."""
    said = KEYS if annotations is None else annotations
    return GatewayUse("gateways", "models", said, tenants, 1 << 20, live or {})


def answered(part: Part, *, message: str = "") -> Any:
    """A policy as Envoy Gateway leaves it: accepted, or refused with a message."""
    condition = {
        "type": "Accepted",
        "status": str(not message),
        "reason": "Invalid" if message else "Accepted",
        "message": message or "Policy has been accepted.",
    }
    return {"spec": part.spec, "status": {"ancestors": [{"conditions": [condition]}]}}


def settled(of: GatewayUse, refused: dict[str, str] | None = None) -> GatewayUse:
    """The same Gateway once Envoy Gateway has answered for all, those by name in `refused` with a message."""
    seen = of
    for _ in range(4):
        parts = ENVOY.parts(seen)
        live = {(p.kind, p.name): answered(p, message=(refused or {}).get(p.name, "")) for p in parts}
        seen = GatewayUse(of.namespace, of.name, of.annotations, of.tenants, of.largest_body, live)
    return seen


def spec_of(of: GatewayUse, kind: str, name: str = "pilothouse-models") -> Any:
    """The spec of one part; {} where there is none."""
    found = {(part.kind, part.name): part.spec for part in ENVOY.parts(of)}
    return found.get((kind, name), {})
