"""Envoy Gateway: what lies beside a Gateway, and what is said of what it can't hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.gateways.dialect import GatewayUse, Part, Tenant
from pilothouse.names import NAMING_HEADERS, STEERING_HEADERS
from unit.gateways.uses import ENVOY, GLOBAL, JWT, KEYS, settled, spec_of, tenant, use, with_tokens

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
    assert claims["b"] == {
        "provider": providers["https://other.example.com"]["name"],
        "claims": [{"name": "org", "valueType": "String", "values": ["b"]}],
    }


def test_tenants_of_one_issuer_share_its_provider() -> None:
    security = spec_of(settled(use(with_tokens("a"), with_tokens("b"), annotations=JWT)), "SecurityPolicy")
    assert len(security["jwt"]["providers"]) == 1
    assert [rule["name"] for rule in security["authorization"]["rules"]] == ["a", "b"]


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
