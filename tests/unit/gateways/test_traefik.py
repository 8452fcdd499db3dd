"""Traefik: Middlewares that the route names, in the order in which they act."""

import pytest

from pilothouse.gateways.registry import dialect_of
from pilothouse.gateways.traefik import Traefik
from unit.gateways.uses import tenant, use

TRAEFIK = Traefik()
AUTH = {"pilothouse.dev/callers": "ForwardAuth", "pilothouse.dev/forward-auth": "http://who.gateways.svc"}
LIMITS = {
    "perTenant": {"requestsPerMinute": 600, "concurrentRequests": 40},
    "perUser": {"concurrentRequests": 4},
}


def test_it_is_found_by_its_controllers_name() -> None:
    assert isinstance(dialect_of("traefik.io/gateway-controller"), Traefik)


def test_who_calls_is_asked_before_anything_is_counted() -> None:
    one = tenant(**LIMITS)
    wanted = TRAEFIK.route_parts(use(one, annotations=AUTH), "coder", (one,))

    assert [entry["extensionRef"]["name"] for entry in wanted.filters] == [
        "coder-callers",
        "coder-credentials",
        "coder-tenant-requests",
        "coder-tenant-concurrency",
        "coder-user-concurrency",
    ]
    assert [part.spec for part in wanted.parts] == [
        {
            "forwardAuth": {
                "address": "http://who.gateways.svc",
                "authResponseHeaders": ["x-pilothouse-tenant", "x-pilothouse-user"],
            }
        },
        {"headers": {"customRequestHeaders": {"Authorization": "", "x-api-key": ""}}},
        {
            "rateLimit": {
                "average": 6000,
                "period": "1m",
                "burst": 6000,
                "sourceCriterion": {"requestHeaderName": "x-pilothouse-tenant"},
            }
        },
        {
            "inFlightReq": {
                "amount": 40,
                "sourceCriterion": {"requestHeaderName": "x-pilothouse-tenant"},
            }
        },
        {"inFlightReq": {"amount": 4, "sourceCriterion": {"requestHeaderName": "x-pilothouse-user"}}},
    ]


def test_tenants_with_limits_of_their_own_are_counted_by_the_guard_alone() -> None:
    several = (tenant("a", **LIMITS), tenant("b"))
    wanted = TRAEFIK.route_parts(use(*several, annotations=AUTH), "coder", several)
    assert [part.name for part in wanted.parts] == ["coder-callers", "coder-credentials"]


def test_no_answer_is_ever_held_back() -> None:
    one = tenant(**LIMITS)
    wanted = TRAEFIK.route_parts(use(one, annotations=AUTH), "coder", (one,))
    assert not any("buffering" in part.spec for part in wanted.parts)


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({}, "annotate it with pilothouse.dev/callers: ForwardAuth or External"),
        ({"pilothouse.dev/callers": "APIKeys"}, "can't do pilothouse.dev/callers: APIKeys"),
        ({"pilothouse.dev/callers": "ForwardAuth"}, "annotate it with pilothouse.dev/forward-auth"),
        (AUTH, ""),
        ({"pilothouse.dev/callers": "External"}, ""),
    ],
)
def test_what_its_owner_has_to_say(annotations: dict[str, str], why: str) -> None:
    said = TRAEFIK.why_unnamed(use(tenant(), annotations=annotations), tenant())
    assert why in said
    assert bool(said) == bool(why)


def test_a_route_that_nobody_has_to_prove_anything_to_gets_no_filter() -> None:
    assert TRAEFIK.route_parts(use(annotations=AUTH), "coder", ()).filters == ()
    assert TRAEFIK.route_parts(use(tenant(), annotations={}), "coder", (tenant(),)).filters == ()
