"""Envoy Gateway: a SecurityPolicy, a ClientTrafficPolicy and a BackendTrafficPolicy beside the Gateway.

Its traps, and what is made of them:

- Where a Secret that a SecurityPolicy names is missing, or two have the same key, every route of the Gateway
  answers 500; the same with global rates where there is no ratelimit service. So what may be refused is first
  tried by a policy of its own, on a route that nobody calls.
- What a route removes from a request is removed after authentication, and with it what that has just set. So
  clients' naming headers are removed by the ClientTrafficPolicy, before anything looks at the request.
- A policy on a route replaces the Gateway's. So there is none on routes: timeouts stand in the HTTPRoute.
- A stream idle timeout on the Gateway would overrule the routes' own, which is never shorter than the lane's
  timeout. So there is none.
- A token can claim any tenant. So it may only claim those that declare its issuer and audience.
- Of two providers that would take a token only the first one speaks. So there is one for each issuer.
- Tokens are taken from the query too, which reaches logs and engines. So only a header is looked at.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

from pilothouse.api.common import Object
from pilothouse.api.tenantquota import Jwt, Limits
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
from pilothouse.names import (
    CREDENTIAL_HEADERS,
    GATEWAY_GROUP,
    NAMING_HEADERS,
    RATE_LIMITS,
    STEERING_HEADERS,
    Header,
)

_API_VERSION: Final = "gateway.envoyproxy.io/v1alpha1"
_SECURITY: Final = "SecurityPolicy"
_CLIENTS: Final = "ClientTrafficPolicy"
_BACKENDS: Final = "BackendTrafficPolicy"

_SLOW_HEADERS: Final = "10s"
_SLOW_BODY: Final = "60s"
_UNLIMITED: Final = 1_000_000
"""Envoy's own default, 1024 for each backend, would refuse what the lanes allow."""

_GLOBALLY: Final = "Global"
_MOST_RULES: Final = {"global": 256, "local": 16}
_MOST_REQUESTS: Final = 2**32 - 1
_MOST_PROVIDERS: Final = 16
_MOST_AUDIENCES: Final = 8
_LONGEST_URL: Final = 253
_KEYS_KEPT: Final = "30s"
"""How long Envoy takes a key server at its word; it asks again 5 s before the time is over."""


class Envoy:
    """Sets up the Gateway; routes need nothing more."""

    def parts(self, use: GatewayUse) -> list[Part]:
        """Return the policies, those that keep others' headers out first."""
        named = _named(use)
        if not _wanted(use):
            return []
        security = [_policy(use, _SECURITY, _security(use, named))] if named else []
        return [
            _policy(use, _CLIENTS, _client_traffic()),
            *_trials(use),
            *security,
            _policy(use, _BACKENDS, _backend_traffic(use, named)),
        ]

    def route_parts(self, use: GatewayUse, name: str, tenants: tuple[Tenant, ...]) -> RouteParts:
        """Return nothing."""
        del use, name, tenants
        return RouteParts()

    def names_callers(self, use: GatewayUse) -> bool:
        """Say so once Envoy Gateway has accepted both policies that it takes."""
        return use.proof is Proof.EXTERNAL or (use.proof in _PROOFS and not _why_no_policies(use))

    def why_unnamed(self, use: GatewayUse, tenant: Tenant) -> str:
        """Say what is missing: the owner's word, the tenant's way to prove itself, or a policy."""
        if use.proof is Proof.EXTERNAL:
            return HELD
        unwanted = _why_not_wanted(use, tenant, _issuers(use))
        return unwanted or _why_not_tried(use, tenant) or _why_no_policies(use)

    def why_no_rate(self, use: GatewayUse, tenant: Tenant, limit: str) -> str:
        """Hold rates where all Envoys count together; what each counts alone is no limit of a tenant's."""
        if use.proof is Proof.EXTERNAL:
            return f"{use.title} is its owner's: Pilothouse sets up no rate limits there"
        if use.annotations.get(RATE_LIMITS) != _GLOBALLY:
            return (
                f"{use.title} counts in each Envoy and for each route by itself: install Envoy's ratelimit "
                f"service with Redis, and annotate the Gateway with {RATE_LIMITS}: {_GLOBALLY}"
            )
        if refused := _why_not_accepted(use, _BACKENDS, _rates_name(use)):
            return refused
        if (tenant.name, limit) not in dict(_rules(use, _named(use))):
            return f"{use.title} has no room for this limit: {_MOST_RULES['global']} are the most"
        return _why_not_accepted(use, _BACKENDS, _name(use))


_PROOFS: Final = frozenset({Proof.API_KEYS, Proof.JWT})


def _name(use: GatewayUse) -> str:
    return f"pilothouse-{use.name}"


def _target(use: GatewayUse) -> Object:
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "name": use.name}


def _policy(use: GatewayUse, kind: str, spec: Object) -> Part:
    return Part(_API_VERSION, kind, _name(use), {"targetRefs": [_target(use)], **spec})


# Who calls.


def _wanted(use: GatewayUse) -> list[Tenant]:
    """Return the tenants whose way to prove themselves is the Gateway's, and fits."""
    issuers = _issuers(use)
    return [tenant for tenant in use.tenants if not _why_not_wanted(use, tenant, issuers)]


def _why_not_wanted(use: GatewayUse, tenant: Tenant, issuers: Mapping[str, Jwt]) -> str:
    if use.proof not in _PROOFS:
        return why_not_asked(use, Proof.API_KEYS, Proof.JWT, Proof.EXTERNAL)
    shows = Proof.JWT if tenant.callers.auth.jwt else Proof.API_KEYS
    if shows is not use.proof:
        return f"{use.title} takes {use.proof}, this tenant shows {shows}: give it a Gateway that takes these"
    jwt = tenant.callers.auth.jwt
    why = _why_not_taken(issuers, jwt) if jwt else HELD
    return f"{use.title} takes {why}" if why else HELD


def _named(use: GatewayUse) -> list[Tenant]:
    """Return the tenants whom the Gateway's policy names: naming the others would close it to all."""
    wanted = _wanted(use)
    if use.proof is not Proof.API_KEYS:
        return wanted
    admitted = _admitted(use)
    # One at a time: two newcomers were not tried together.
    newcomer = next((tenant.name for tenant in wanted if _passes(use, tenant, admitted)), "")
    return [tenant for tenant in wanted if tenant in admitted or tenant.name == newcomer]


def _security(use: GatewayUse, named: list[Tenant]) -> Object:
    if use.proof is Proof.API_KEYS:
        return _api_keys([secret for tenant in named for secret in _secrets(tenant)])
    declared = ((tenant.name, jwt) for tenant in named if (jwt := tenant.callers.auth.jwt))
    return {
        "jwt": {"providers": list(map(_provider, _issuers(use).values()))},
        "authorization": {
            "defaultAction": "Deny",
            "rules": [rule for name, jwt in declared for rule in _may_claim(name, jwt)],
        },
    }


def _api_keys(secrets: list[str]) -> Object:
    return {
        "apiKeyAuth": {
            "credentialRefs": [
                {"group": "", "kind": "Secret", "name": secret} for secret in dict.fromkeys(secrets)
            ],
            # As `Bearer KEY` in Authorization, the way OpenAI's clients send it, or bare in the other one.
            "extractFrom": [{"headers": list(CREDENTIAL_HEADERS)}],
            "forwardClientIDHeader": Header.CLIENT.value,
            "sanitize": True,
        }
    }


def _secrets(tenant: Tenant) -> tuple[str, ...]:
    keys = tenant.callers.auth.api_keys
    return keys.secret_names if keys else ()


def _issuers(use: GatewayUse) -> dict[str, Jwt]:
    """Return by issuer what is taken: keys and claims of the longest known tenant, audiences of all."""
    found: dict[str, Jwt] = {}
    for tenant in use.tenants:
        jwt = tenant.callers.auth.jwt
        if jwt and not _why_not_taken(found, jwt):
            found[jwt.issuer] = _with_audiences(found.get(jwt.issuer, jwt), jwt)
    return found


def _why_not_taken(issuers: Mapping[str, Jwt], jwt: Jwt) -> str:
    """Say what is taken instead of these tokens, where `issuers` are taken."""
    known = issuers.get(jwt.issuer, jwt)
    if max(len(jwt.issuer), len(jwt.jwks_uri)) > _LONGEST_URL:
        return f"URLs of at most {_LONGEST_URL} characters as issuer and jwksURI"
    if jwt.issuer not in issuers and len(issuers) == _MOST_PROVIDERS:
        return f"tokens of {_MOST_PROVIDERS} issuers, and has as many"
    if known.model_copy(update={"audiences": jwt.audiences}) != jwt:
        return f"one jwksURI and the same claims for all tenants of {jwt.issuer}, and another came first"
    if len(_with_audiences(known, jwt).audiences) > _MOST_AUDIENCES:
        return f"at most {_MOST_AUDIENCES} audiences for all tenants of {jwt.issuer} together"
    return HELD


def _with_audiences(known: Jwt, jwt: Jwt) -> Jwt:
    return known.model_copy(update={"audiences": tuple(dict.fromkeys((*known.audiences, *jwt.audiences)))})


def _provider_name(jwt: Jwt) -> str:
    return f"issuer-{hashlib.sha256(jwt.issuer.encode()).hexdigest()[:10]}"


def _provider(jwt: Jwt) -> Object:
    return {
        "name": _provider_name(jwt),
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "remoteJWKS": {"uri": jwt.jwks_uri, "cacheDuration": _KEYS_KEPT},
        "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
        "claimToHeaders": [
            {"header": Header.TENANT.value, "claim": jwt.tenant_claim},
            {"header": Header.USER.value, "claim": jwt.user_claim},
        ],
    }


def _may_claim(name: str, jwt: Jwt) -> Iterator[Object]:
    """Let tokens claim a tenant that are of its issuer and for its audiences: for one, or for several."""
    claim = {"name": jwt.tenant_claim, "valueType": "String", "values": [name]}
    for value_type in ("String", "StringArray"):
        audience = {"name": "aud", "valueType": value_type, "values": list(jwt.audiences)}
        principal = {"jwt": {"provider": _provider_name(jwt), "claims": [claim, audience]}}
        yield {"name": f"{name}.{value_type}", "action": "Allow", "principal": principal}


# What may be refused is tried first.


def _trials(use: GatewayUse) -> Iterator[Part]:
    named, admitted = _named(use), _admitted(use)
    for tenant in _wanted(use) if use.proof is Proof.API_KEYS else ():
        name, others = _trial_name(use, tenant), [] if tenant in named else admitted
        yield _trial_route(use, name, f"keys/{tenant.name}")
        yield _trial(_SECURITY, name, _api_keys(_tried(tenant, others)))
    if use.annotations.get(RATE_LIMITS) == _GLOBALLY:
        rule = {"limit": {"requests": 1, "unit": "Minute"}}
        yield _trial_route(use, _rates_name(use), "rates")
        yield _trial(_BACKENDS, _rates_name(use), {"rateLimit": {"global": {"rules": [rule]}}})


def _trial_name(use: GatewayUse, tenant: Tenant) -> str:
    return f"{_name(use)}-{tenant.name}"


def _rates_name(use: GatewayUse) -> str:
    """Name the trial of global rates; no tenant's name has a dot."""
    return f"{_name(use)}.rates"


def _trial_route(use: GatewayUse, name: str, path: str) -> Part:
    """Give a trial something to stand on; who calls it, and is let in, is sent to `/`."""
    redirect = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}, "statusCode": 302}
    rule = {
        "matches": [{"path": {"type": "Exact", "value": f"/.pilothouse/{path}"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
    }
    parent = {**_target(use), "namespace": use.namespace}
    spec = {"parentRefs": [parent], "rules": [rule]}
    return Part(f"{GATEWAY_GROUP}/v1", "HTTPRoute", name, spec)


def _trial(kind: str, name: str, spec: Object) -> Part:
    target = {"group": GATEWAY_GROUP, "kind": "HTTPRoute", "name": name}
    return Part(_API_VERSION, kind, name, {"targetRefs": [target], **spec})


def _admitted(use: GatewayUse) -> list[Tenant]:
    """Return the tenants whose trial is over: it holds on to their own Secrets, to tell when one is lost."""
    return [
        tenant
        for tenant in _wanted(use)
        if _on_trial(use, tenant) == list(_secrets(tenant)) and not _complaint(use, tenant)
    ]


def _passes(use: GatewayUse, tenant: Tenant, admitted: list[Tenant]) -> bool:
    """Say whether a newcomer's Secrets get on with those of all who are admitted, as they are now."""
    tried = _on_trial(use, tenant) == _tried(tenant, admitted)
    return tenant not in admitted and tried and _is_current(use, tenant) and not _complaint(use, tenant)


def _tried(tenant: Tenant, others: list[Tenant]) -> list[str]:
    """Return the Secrets that a tenant's trial names, its own behind those of others."""
    return list(dict.fromkeys(secret for each in (*others, tenant) for secret in _secrets(each)))


def _on_trial(use: GatewayUse, tenant: Tenant) -> list[str]:
    trial = use.live.get((_SECURITY, _trial_name(use, tenant)), {})
    return [ref["name"] for ref in trial.get("spec", {}).get("apiKeyAuth", {}).get("credentialRefs", [])]


def _is_current(use: GatewayUse, tenant: Tenant) -> bool:
    """Say whether what Envoy Gateway said of a trial is said of it as it is now."""
    trial = use.live[_SECURITY, _trial_name(use, tenant)]
    generation = trial.get("metadata", {}).get("generation", 0)
    return all(each.get("observedGeneration", 0) >= generation for each in _said(trial))


def _complaint(use: GatewayUse, tenant: Tenant) -> str:
    return _why_not_accepted(use, _SECURITY, _trial_name(use, tenant))


def _why_not_tried(use: GatewayUse, tenant: Tenant) -> str:
    if tenant in _named(use):
        return HELD
    waiting = f"{_SECURITY} {use.namespace}/{_trial_name(use, tenant)} is being tried"
    return _complaint(use, tenant) or waiting


def _why_no_policies(use: GatewayUse) -> str:
    found = (_why_not_accepted(use, kind, _name(use)) for kind in (_CLIENTS, _SECURITY))
    return next(filter(None, found), HELD)


def _why_not_accepted(use: GatewayUse, kind: str, name: str) -> str:
    """Say what Envoy Gateway has against a policy; of one that was changed, what it had against the last."""
    policy = use.live.get((kind, name))
    if policy is None:
        return f"{kind} {use.namespace}/{name} is not there"
    said = _said(policy)
    refused = next((each for each in said if each["status"] != "True"), None)
    if refused:
        return f"{kind} {use.namespace}/{name} is refused: {refused.get('message') or refused['reason']}"
    return HELD if said else f"Envoy Gateway has not answered for {kind} {use.namespace}/{name}"


def _said(policy: Object) -> list[Object]:
    ancestors = (policy.get("status") or {}).get("ancestors") or []
    return [each for ancestor in ancestors for each in ancestor["conditions"] if each["type"] == "Accepted"]


# What clients and routes are held to.


def _client_traffic() -> Object:
    """Take from clients what is not theirs to say, and put up with neither slow ones nor path tricks."""
    return {
        "headers": {
            "earlyRequestHeaders": {"remove": [*NAMING_HEADERS, *(name.lower() for name in STEERING_HEADERS)]}
        },
        "path": {"escapedSlashesAction": "RejectRequest"},
        "timeout": {
            "http": {"requestHeadersReceivedTimeout": _SLOW_HEADERS, "requestReceivedTimeout": _SLOW_BODY}
        },
    }


def _backend_traffic(use: GatewayUse, named: list[Tenant]) -> Object:
    rules = [rule for _, rule in _rules(use, named)]
    limits = {"rateLimit": {_scope(use): {"rules": rules}}} if rules else {}
    return {
        "requestBuffer": {"limit": str(use.largest_body)},
        "circuitBreaker": {
            "maxConnections": _UNLIMITED,
            "maxPendingRequests": _UNLIMITED,
            "maxParallelRequests": _UNLIMITED,
        },
        **limits,
    }


def _scope(use: GatewayUse) -> str:
    asked = use.annotations.get(RATE_LIMITS) == _GLOBALLY
    return "global" if asked and not _why_not_accepted(use, _BACKENDS, _rates_name(use)) else "local"


def _rules(use: GatewayUse, named: list[Tenant]) -> list[tuple[tuple[str, str], Object]]:
    """Return the rules by tenant and limit.

    A rule's place is the name of its count, so that of a tenant who comes is behind those who are there.
    """
    rules = [((tenant.name, limit), rule) for tenant in named for limit, rule in _rules_of(use, tenant)]
    return rules[: _MOST_RULES[_scope(use)]]


def _rules_of(use: GatewayUse, tenant: Tenant) -> Iterator[tuple[str, Object]]:
    callers = tenant.callers
    for name, limits in (("perTenant", callers.per_tenant), ("perUser", callers.per_user)):
        if fitting := _requests(use, limits):
            headers = [*_of_tenant(use, tenant), *([_each_user(use)] if name == "perUser" else [])]
            rule = {
                "clientSelectors": [{"headers": headers}],
                "limit": {"requests": fitting, "unit": "Minute"},
            }
            # Without it each route of the Gateway would count for itself.
            yield f"{name}.requestsPerMinute", rule | ({"shared": True} if _scope(use) == "global" else {})


def _requests(use: GatewayUse, limits: Limits) -> int | None:
    most = (limits.requests_per_minute or 0) * (LOCAL_MULTIPLE if _scope(use) == "local" else 1)
    return most if most and most <= _MOST_REQUESTS else None


def _of_tenant(use: GatewayUse, tenant: Tenant) -> list[Object]:
    if use.proof is Proof.JWT:
        return [{"type": "Exact", "name": Header.TENANT.value, "value": tenant.name}]
    return [{"type": "RegularExpression", "name": Header.CLIENT.value, "value": rf"{tenant.name}\..*"}]


def _each_user(use: GatewayUse) -> Object:
    header = Header.USER if use.proof is Proof.JWT else Header.CLIENT
    return {"type": "Distinct", "name": header.value}
