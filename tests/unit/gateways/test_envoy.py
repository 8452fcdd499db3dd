"""Envoy Gateway: what lies beside a Gateway, and what is said of what it can't hold."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.gateways.dialect import GatewayUse, Part, Tenant
from pilothouse.names import NAMING_HEADERS, STEERING_HEADERS
from unit.gateways.uses import ENVOY, GLOBAL, JWT, KEYS, answered, settled, spec_of, tenant, use, with_tokens

TARGET = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "models"}
RATES = {"perTenant": {"requestsPerMinute": 600}, "perUser": {"requestsPerMinute": 60}}


def rules_of(of: GatewayUse, scope: str) -> list[dict[str, object]]:
    """The rate limits of a Gateway."""
    limits = spec_of(of, "BackendTrafficPolicy").get("rateLimit", {})
    return list(limits.get(scope, {}).get("rules", []))


def test_without_tenants_nothing_is_created() -> None:
    assert ENVOY.parts(use()) == []


@pytest.mark.parametrize("annotations", [{}, {"pilothouse.dev/callers": "External"}])
def test_a_gateway_is_left_alone_unless_its_owner_says_otherwise(annotations: dict[str, str]) -> None:
    assert ENVOY.parts(use(tenant(), annotations=annotations)) == []


def test_one_policy_names_the_secrets_of_all_tenants() -> None:
    security = spec_of(settled(use(tenant("a"), tenant("b"))), "SecurityPolicy")

    assert security == {
        "targetRefs": [TARGET],
        "apiKeyAuth": {
            "credentialRefs": [
                {"group": "", "kind": "Secret", "name": "a-keys"},
                {"group": "", "kind": "Secret", "name": "b-keys"},
            ],
            "extractFrom": [{"headers": ["Authorization", "x-api-key"]}],
            "forwardClientIDHeader": "x-pilothouse-client",
            "sanitize": True,
        },
    }


def test_a_secret_is_named_only_once_envoy_gateway_has_accepted_it_alone() -> None:
    missing = {"pilothouse-models-b": "secret gateways/b-keys not found"}
    seen = settled(use(tenant("a"), tenant("b")), missing)

    assert [ref["name"] for ref in spec_of(seen, "SecurityPolicy")["apiKeyAuth"]["credentialRefs"]] == [
        "a-keys"
    ]
    assert ENVOY.why_unnamed(seen, tenant("a")) == ""
    assert ENVOY.why_unnamed(seen, tenant("b")) == (
        "SecurityPolicy gateways/pilothouse-models-b is refused: secret gateways/b-keys not found"
    )


def test_a_secret_is_tried_on_a_route_that_nobody_calls() -> None:
    seen = use(tenant("a"))

    assert spec_of(seen, "HTTPRoute", "pilothouse-models-a")["rules"][0]["matches"] == [
        {"path": {"type": "Exact", "value": "/.pilothouse/keys/a"}}
    ]
    assert spec_of(seen, "SecurityPolicy", "pilothouse-models-a")["targetRefs"] == [
        {**TARGET, "kind": "HTTPRoute", "name": "pilothouse-models-a"}
    ]


def test_clients_can_say_neither_who_they_are_nor_what_steers_the_engine() -> None:
    headers = spec_of(use(tenant()), "ClientTrafficPolicy")["headers"]

    removed = set(headers["earlyRequestHeaders"]["remove"])
    assert removed == {*NAMING_HEADERS, *(name.lower() for name in STEERING_HEADERS)}


def test_no_idle_timeout_of_the_gateway_overrules_the_lanes() -> None:
    timeouts = spec_of(use(tenant()), "ClientTrafficPolicy")["timeout"]["http"]
    assert "streamIdleTimeout" not in timeouts
    assert "timeout" not in spec_of(use(tenant()), "BackendTrafficPolicy")


def test_a_body_may_be_as_long_as_the_longest_lane_takes() -> None:
    seen = replace(use(tenant()), largest_body=5 << 20)
    assert spec_of(seen, "BackendTrafficPolicy")["requestBuffer"] == {"limit": str(5 << 20)}


def test_a_token_may_claim_only_the_tenants_that_declare_its_issuer() -> None:
    one, other = with_tokens("a"), with_tokens("b", issuer="https://other.example.com", tenantClaim="org")
    security = spec_of(settled(use(one, other, annotations=JWT)), "SecurityPolicy")

    providers = {each["issuer"]: each for each in security["jwt"]["providers"]}
    assert providers["https://login.example.com"]["claimToHeaders"] == [
        {"header": "x-pilothouse-tenant", "claim": "tenant"},
        {"header": "x-pilothouse-user", "claim": "sub"},
    ]
    assert security["authorization"]["defaultAction"] == "Deny"
    claims = {rule["name"]: rule["principal"]["jwt"] for rule in security["authorization"]["rules"]}
    assert claims["b.String"] == {
        "provider": providers["https://other.example.com"]["name"],
        "claims": [
            {"name": "org", "valueType": "String", "values": ["b"]},
            {"name": "aud", "valueType": "String", "values": ["models"]},
        ],
    }
    assert claims["b.StringArray"]["claims"][1]["valueType"] == "StringArray"


def test_a_token_is_looked_for_in_no_query_and_keys_are_asked_for_twice_a_minute() -> None:
    [provider] = spec_of(use(with_tokens(), annotations=JWT), "SecurityPolicy")["jwt"]["providers"]

    assert provider["extractFrom"] == {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]}
    assert provider["remoteJWKS"]["cacheDuration"] == "30s"


def test_tenants_of_one_issuer_share_its_provider_and_are_held_to_their_own_audiences() -> None:
    both = with_tokens("a"), with_tokens("b", audiences=["models", "chat"])
    security = spec_of(settled(use(*both, annotations=JWT)), "SecurityPolicy")

    [provider] = security["jwt"]["providers"]
    assert provider["audiences"] == ["models", "chat"]
    rules = {rule["name"]: rule["principal"]["jwt"] for rule in security["authorization"]["rules"]}
    assert {name: rule["claims"][1]["values"] for name, rule in rules.items()} == {
        "a.String": ["models"],
        "a.StringArray": ["models"],
        "b.String": ["models", "chat"],
        "b.StringArray": ["models", "chat"],
    }
    assert {rule["provider"] for rule in rules.values()} == {provider["name"]}


@pytest.mark.parametrize(
    ("newcomer", "why"),
    [
        ({"jwksURI": "https://login.example.com/other.json"}, "one jwksURI and the same claims"),
        ({"userClaim": "email"}, "one jwksURI and the same claims"),
        ({"audiences": [f"a{n}" for n in range(8)]}, "at most 8 audiences for all tenants of"),
    ],
)
def test_a_newcomer_whose_issuer_is_known_otherwise_is_told_so_and_changes_nothing(
    newcomer: dict[str, Any], why: str
) -> None:
    before = settled(use(with_tokens("a"), annotations=JWT))
    seen = settled(use(with_tokens("a"), with_tokens("b", **newcomer), annotations=JWT))

    assert spec_of(seen, "SecurityPolicy") == spec_of(before, "SecurityPolicy")
    assert why in ENVOY.why_unnamed(seen, with_tokens("b", **newcomer))
    assert ENVOY.why_unnamed(seen, with_tokens("a")) == ""


def test_as_many_issuers_fit_as_envoy_gateway_takes_and_the_rest_is_told() -> None:
    many = [with_tokens(f"t{number}", issuer=f"https://{number}.example.com") for number in range(17)]
    seen = settled(use(*many, annotations=JWT))

    assert len(spec_of(seen, "SecurityPolicy")["jwt"]["providers"]) == 16
    assert ENVOY.why_unnamed(seen, many[15]) == ""
    assert "tokens of 16 issuers, and has as many" in ENVOY.why_unnamed(seen, many[16])


def test_where_all_envoys_count_together_a_tenants_rate_is_one_for_all_its_routes() -> None:
    seen = settled(use(tenant("a", **RATES), annotations=KEYS | GLOBAL))
    of_tenant = {"type": "RegularExpression", "name": "x-pilothouse-client", "value": r"a\..*"}

    assert rules_of(seen, "global") == [
        {
            "clientSelectors": [{"headers": [of_tenant]}],
            "limit": {"requests": 600, "unit": "Minute"},
            "shared": True,
        },
        {
            "clientSelectors": [
                {"headers": [of_tenant, {"type": "Distinct", "name": "x-pilothouse-client"}]}
            ],
            "limit": {"requests": 60, "unit": "Minute"},
            "shared": True,
        },
    ]
    assert ENVOY.why_no_rate(seen, tenant("a", **RATES), "perTenant.requestsPerMinute") == ""


def test_without_the_ratelimit_service_no_global_rate_closes_the_gateway() -> None:
    why = "enable Ratelimit in the EnvoyGateway config"
    seen = settled(use(tenant("a", **RATES), annotations=KEYS | GLOBAL), {"pilothouse-models.rates": why})

    assert rules_of(seen, "global") == []
    assert len(rules_of(seen, "local")) == 2
    assert why in ENVOY.why_no_rate(seen, tenant("a", **RATES), "perTenant.requestsPerMinute")


def test_what_each_envoy_counts_by_itself_leaves_the_guard_room_and_is_said_to_hold_nothing() -> None:
    seen = settled(use(tenant("a", **RATES)))

    assert [rule["limit"]["requests"] for rule in rules_of(seen, "local")] == [6000, 600]
    why = ENVOY.why_no_rate(seen, tenant("a", **RATES), "perTenant.requestsPerMinute")
    assert "install Envoy's ratelimit service with Redis" in why


def test_a_rate_that_is_no_longer_counted_for_want_of_room_is_said() -> None:
    many = [tenant(f"t{number}", **RATES) for number in range(150)]
    seen = settled(use(*many, annotations=KEYS | GLOBAL))

    assert len(rules_of(seen, "global")) == 256
    assert ENVOY.why_no_rate(seen, many[0], "perUser.requestsPerMinute") == ""
    assert "no room" in ENVOY.why_no_rate(seen, many[-1], "perUser.requestsPerMinute")


@pytest.mark.parametrize(
    ("shown", "annotations", "why"),
    [
        (tenant(), {}, "annotate it with pilothouse.dev/callers: APIKeys or JWT or External"),
        (tenant(), {"pilothouse.dev/callers": "ForwardAuth"}, "can't do pilothouse.dev/callers: ForwardAuth"),
        (tenant(), JWT, "takes JWT, this tenant shows APIKeys"),
        (with_tokens(), KEYS, "takes APIKeys, this tenant shows JWT"),
        (with_tokens(audiences=[f"a{n}" for n in range(9)]), JWT, "at most 8 audiences"),
    ],
)
def test_why_callers_can_not_prove_who_they_are(shown: Tenant, annotations: dict[str, str], why: str) -> None:
    seen = settled(use(shown, annotations=annotations))
    assert why in ENVOY.why_unnamed(seen, shown)
    assert spec_of(seen, "SecurityPolicy") == {}


def test_the_owners_own_policy_in_the_way_is_told_in_envoy_gateways_words() -> None:
    seen = settled(use(tenant("a")))
    conflict = {("ClientTrafficPolicy", "pilothouse-models"): "Unable to target Gateway models"}
    live = dict(seen.live)
    for key, message in conflict.items():
        live[key] = {
            "status": {
                "ancestors": [{"conditions": [{"type": "Accepted", "status": "False", "message": message}]}]
            }
        }
    seen = replace(seen, live=live)

    assert "Unable to target Gateway models" in ENVOY.why_unnamed(seen, tenant("a"))
    assert not ENVOY.names_callers(seen)


def test_headers_are_believed_once_both_policies_are_accepted() -> None:
    assert not ENVOY.names_callers(use(tenant()))
    assert ENVOY.names_callers(settled(use(tenant())))


TENANTS = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=12, unique=True)


def per_tenant(parts: list[Part], name: str) -> object:
    """All that a Gateway's parts say of one tenant."""
    specs = {(part.kind, part.name): part.spec for part in parts}
    rules = specs[("BackendTrafficPolicy", "pilothouse-models")].get("rateLimit", {})
    places = [
        (place, rule)
        for place, rule in enumerate(next(iter(rules.values()), {"rules": []})["rules"])
        if rule["clientSelectors"][0]["headers"][0]["value"] == rf"{name}\..*"
    ]
    refs = specs[("SecurityPolicy", "pilothouse-models")]["apiKeyAuth"]["credentialRefs"]
    return places, [ref for ref in refs if ref["name"] == f"{name}-keys"]


@given(names=TENANTS, comes=st.sampled_from(["zz-new", "aa-new"]), wide=st.booleans())
def test_a_tenant_that_comes_changes_nothing_of_the_others(
    names: list[str], comes: str, *, wide: bool
) -> None:
    said = KEYS | (GLOBAL if wide else {})
    others = [tenant(name, **RATES) for name in names]
    before = ENVOY.parts(settled(use(*others, annotations=said)))
    after = ENVOY.parts(settled(use(*others, tenant(comes, **RATES), annotations=said)))

    for name in names:
        assert per_tenant(before, name) == per_tenant(after, name)


@given(names=TENANTS)
def test_no_tenant_whose_secret_is_refused_closes_the_gateway_to_others(names: list[str]) -> None:
    refused = {f"pilothouse-models-{name}": "not found" for name in names[::2]}
    seen = settled(use(*(tenant(name) for name in names)), refused)

    refs = spec_of(seen, "SecurityPolicy").get("apiKeyAuth", {}).get("credentialRefs", [])
    assert [ref["name"] for ref in refs] == [f"{name}-keys" for name in names[1::2]]


Secrets = dict[str, list[str]]
"""By Secret the keys in it."""


def judged(part: Part, secrets: Secrets) -> Any:
    """A policy as Envoy Gateway leaves it: it knows the Secrets, and refuses what it refuses."""
    refs = part.spec.get("apiKeyAuth", {}).get("credentialRefs", [])
    named = [ref["name"] for ref in refs]
    if missing := [name for name in named if name not in secrets]:
        return answered(part, message=f"secret {missing[0]} does not exist")
    keys = [key for name in named for key in secrets[name]]
    return answered(part, message="duplicated API key" if len(keys) != len(set(keys)) else "")


def turned(seen: GatewayUse, secrets: Secrets) -> GatewayUse:
    """The Gateway once more: what it asks for is there, and Envoy Gateway has answered."""
    live = {(part.kind, part.name): judged(part, secrets) for part in ENVOY.parts(seen)}
    return replace(seen, live=live)


def named(of: GatewayUse) -> list[str]:
    """The Secrets that the Gateway's policy names."""
    refs = spec_of(of, "SecurityPolicy").get("apiKeyAuth", {}).get("credentialRefs", [])
    return [ref["name"] for ref in refs]


NEWCOMERS = st.lists(st.sampled_from(["missing", "copied", "twins", "twins", "own"]), max_size=6)


@given(served=st.integers(1, 4), newcomers=NEWCOMERS)
def test_no_newcomer_closes_the_gateway_to_those_whom_it_serves(served: int, newcomers: list[str]) -> None:
    keys = {"copied": "key-0", "twins": "twins"}
    old = [tenant(f"old{number}") for number in range(served)]
    secrets = {f"old{number}-keys": [f"key-{number}"] for number in range(served)}
    seen = use(*old)
    for _ in range(4):
        seen = turned(seen, secrets)
    assert named(seen) == list(secrets)

    new = [tenant(f"{kind}{place}") for place, kind in enumerate(newcomers)]
    seen = replace(seen, tenants=(*old, *new))
    theirs = {f"{kind}{place}-keys": [keys.get(kind, f"own-{place}")] for place, kind in enumerate(newcomers)}
    present = secrets | {name: found for name, found in theirs.items() if not name.startswith("missing")}
    for _ in range(4 + 2 * len(new)):
        seen = turned(seen, present)
        assert set(secrets) <= set(named(seen))
        assert "refused" not in ENVOY.why_unnamed(seen, old[0])

    first_twin = next((name for name in theirs if name.startswith("twins")), None)
    fitting = {name for name in theirs if name.startswith("own") or name == first_twin}
    assert set(named(seen)) == set(secrets) | fitting


def test_a_lost_secret_closes_its_own_tenant_and_is_welcome_back() -> None:
    secrets = {"a-keys": ["a"], "b-keys": ["b"], "c-keys": ["c"]}
    seen = use(tenant("a"), tenant("b"), tenant("c"))
    for _ in range(4):
        seen = turned(seen, secrets)
    lost = {name: keys for name, keys in secrets.items() if name != "a-keys"}
    for _ in range(3):
        seen = turned(seen, lost)
    assert named(seen) == ["b-keys", "c-keys"]
    assert "secret a-keys does not exist" in ENVOY.why_unnamed(seen, tenant("a"))

    for _ in range(4):
        seen = turned(seen, secrets)
    assert named(seen) == ["a-keys", "b-keys", "c-keys"]


def test_a_policy_that_somebody_deletes_comes_back_with_all_tenants() -> None:
    seen = settled(use(tenant("a"), tenant("b")))
    live = {key: obj for key, obj in seen.live.items() if key != ("SecurityPolicy", "pilothouse-models")}
    assert named(replace(seen, live=live)) == ["a-keys", "b-keys"]


def test_a_verdict_on_a_former_trial_admits_nobody() -> None:
    seen = settled(use(tenant("a")))
    seen = replace(seen, tenants=(tenant("a"), tenant("b")))
    seen = turned(seen, {"a-keys": ["a"], "b-keys": ["b"]})
    trial = ("SecurityPolicy", "pilothouse-models-b")
    stale = {**seen.live[trial], "metadata": {"generation": 2}}

    assert named(replace(seen, live={**seen.live, trial: stale})) == ["a-keys"]
    assert "is being tried" in ENVOY.why_unnamed(replace(seen, live={**seen.live, trial: stale}), tenant("b"))
    assert named(seen) == ["a-keys", "b-keys"]
