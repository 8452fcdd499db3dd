"""The HTTPRoute: three generation paths, the limits of the Gateway API, and the URL that people are told."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import GATEWAY, gateway, merged, model_deployment, queue_class
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.names import NAMING_HEADERS, STEERING_HEADERS
from pilothouse.plan.observed import Object
from pilothouse.plan.route import RouteCallers, base_url, gateway_keys, http_route

DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
"""What the Gateway API takes as a duration."""


def routed(**route: object) -> ModelDeployment:
    """A ModelDeployment whose route differs in this."""
    return model_deployment({"route": route})


def route_of(
    deployment: ModelDeployment, weights: dict[str, int] | None = None, timeout: str = "15s"
) -> Object:
    """The spec of its HTTPRoute."""
    assert deployment.spec.route
    lane = queue_class({"requests": {"timeout": timeout}})
    shares = {"0123456789": 100} if weights is None else weights
    callers = RouteCallers((*STEERING_HEADERS, *NAMING_HEADERS))
    return dict(http_route(deployment, deployment.spec.route, lane, shares, callers)["spec"])


def url(deployment: ModelDeployment, **spec: object) -> str:
    """The URL behind a Gateway whose spec differs in this."""
    return base_url(deployment, {GATEWAY: merged(gateway(), {"spec": spec})})


def test_only_the_generation_paths_are_open() -> None:
    rules = route_of(routed())["rules"]
    matches = [match for rule in rules for match in rule["matches"]]

    assert [(match["path"]["type"], match["path"]["value"], match["method"]) for match in matches] == [
        ("Exact", "/team-ide/qwen-coder/v1/completions", "POST"),
        ("Exact", "/team-ide/qwen-coder/v1/chat/completions", "POST"),
        ("Exact", "/team-ide/qwen-coder/v1/models", "GET"),
    ]


def test_the_prefix_is_taken_off_before_the_engine_sees_it() -> None:
    rewrites = [rule["filters"][1]["urlRewrite"]["path"] for rule in route_of(routed())["rules"]]

    assert [rewrite["replaceFullPath"] for rewrite in rewrites] == [
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/models",
    ]


def test_headers_that_the_engine_obeys_are_removed() -> None:
    for rule in route_of(routed())["rules"]:
        removed = rule["filters"][0]["requestHeaderModifier"]["remove"]
        assert {"X-Vllm-Priority", "X-data-parallel-rank", "X-Session-ID"} <= set(removed)


def test_traffic_is_shared_by_weight_and_weight_zero_is_left_out() -> None:
    for rule in route_of(routed(), {"aaaaaaaaaa": 95, "bbbbbbbbbb": 5, "cccccccccc": 0})["rules"]:
        assert rule["backendRefs"] == [
            {"group": "", "kind": "Service", "name": "qwen-coder-aaaaaaaaaa", "port": 80, "weight": 95},
            {"group": "", "kind": "Service", "name": "qwen-coder-bbbbbbbbbb", "port": 80, "weight": 5},
        ]


@pytest.mark.parametrize("timeout", ["15s", "24h", "400ms", "1h30m", "1m500ms", "2h59m59s999ms"])
def test_the_lanes_timeout_is_one_that_the_gateway_api_takes(timeout: str) -> None:
    unguarded = model_deployment({"engine": {"guard": "Disabled"}})
    for rule in route_of(unguarded, timeout=timeout)["rules"]:
        assert rule["timeouts"] == {"request": timeout}
        assert DURATION.fullmatch(rule["timeouts"]["request"])


@pytest.mark.parametrize(("timeout", "routes"), [("15s", "20s"), ("400ms", "6s"), ("1h30m", "5405s")])
def test_a_gateway_waits_for_the_last_words_of_a_guard(timeout: str, routes: str) -> None:
    for rule in route_of(routed(), timeout=timeout)["rules"]:
        assert rule["timeouts"] == {"request": routes}
        assert DURATION.fullmatch(routes)


@given(parents=st.integers(1, 8), hostnames=st.integers(0, 16), revisions=st.integers(1, 3))
def test_no_route_exceeds_the_limits_of_the_gateway_api(parents: int, hostnames: int, revisions: int) -> None:
    deployment = routed(
        parentRefs=[{"name": f"gateway-{number}"} for number in range(parents)],
        hostnames=[f"host-{number}.example.com" for number in range(hostnames)],
        pathPrefix="/" + "p" * 255,
    )
    spec = route_of(deployment, {f"{number:010}": 1 for number in range(revisions)})

    assert len(spec["parentRefs"]) <= 32
    assert len(spec.get("hostnames", [])) <= 16
    assert len(spec["rules"]) <= 16
    for rule in spec["rules"]:
        assert len(rule["matches"]) <= 64
        assert len(rule["backendRefs"]) <= 16
        assert len(rule["filters"]) <= 16
        assert len(rule["matches"][0]["path"]["value"]) <= 1024


def test_hostnames_are_passed_on_and_left_out_where_empty() -> None:
    assert route_of(routed(hostnames=["models.example.com"]))["hostnames"] == ["models.example.com"]
    assert "hostnames" not in route_of(routed())


def test_a_parent_without_a_namespace_is_in_the_models_own() -> None:
    deployment = routed(parentRefs=[{"name": "own"}, {"name": "models", "namespace": "gateways"}])

    assert [(ref["namespace"], ref["name"]) for ref in route_of(deployment)["parentRefs"]] == [
        ("team-ide", "own"),
        ("gateways", "models"),
    ]
    assert [(key.namespace, key.name) for key in gateway_keys(deployment)] == [
        ("team-ide", "own"),
        ("gateways", "models"),
    ]


def test_the_url_is_the_gateways_address_and_the_prefix() -> None:
    assert url(routed()) == "http://10.96.0.7/team-ide/qwen-coder/v1"


def test_the_url_names_a_port_that_is_not_the_schemes_own() -> None:
    listeners = [{"name": "http", "port": 8080, "protocol": "HTTP"}]

    assert url(routed(), listeners=listeners) == "http://10.96.0.7:8080/team-ide/qwen-coder/v1"


def test_the_url_is_of_the_first_listener_that_serves_http() -> None:
    listeners = [
        {"name": "tcp", "port": 9000, "protocol": "TCP"},
        {"name": "https", "port": 443, "protocol": "HTTPS"},
        {"name": "http", "port": 80, "protocol": "HTTP"},
    ]

    assert url(routed(), listeners=listeners) == "https://10.96.0.7/team-ide/qwen-coder/v1"


def test_the_url_has_the_first_hostname_that_is_one() -> None:
    deployment = routed(hostnames=["*.example.com", "models.example.com"])

    assert url(deployment) == "http://models.example.com/team-ide/qwen-coder/v1"


def test_a_pattern_of_hostnames_is_no_url() -> None:
    assert url(routed(hostnames=["*.example.com"])) == ""


def test_the_listeners_hostname_is_the_routes_where_it_has_none() -> None:
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "models.example.com"}]

    assert url(routed(), listeners=listeners) == "http://models.example.com/team-ide/qwen-coder/v1"


def test_an_address_of_version_6_is_bracketed() -> None:
    named = merged(gateway(), {"status": {"addresses": [{"type": "IPAddress", "value": "fd00::7"}]}})

    assert base_url(routed(), {GATEWAY: named}) == "http://[fd00::7]/team-ide/qwen-coder/v1"


def test_without_an_address_there_is_no_url() -> None:
    bare = merged(gateway(), {"status": {"addresses": []}})

    assert base_url(routed(), {GATEWAY: bare}) == ""
    assert base_url(routed(), {}) == ""


def test_without_a_route_the_url_is_the_services() -> None:
    assert base_url(model_deployment({"route": None}), {}) == "http://qwen-coder.team-ide/v1"
