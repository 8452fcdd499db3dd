"""What lies beside a Gateway for its callers, on an API server that has Envoy Gateway's own schemas.

Envoy Gateway itself is not there; its answers are written by the tests.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import builds
from harness.shell import HarnessError, wait_for
from integration.loop.conftest import StartOperator
from integration.loop.control_plane import ControlPlane
from integration.loop.team import Team

POLICIES = ("securitypolicies", "clienttrafficpolicies", "backendtrafficpolicies")
CRDS = "gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_{}.yaml"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
NAME = "pilothouse-models"

Object = dict[str, Any]


@pytest.fixture
def envoy_gateway(plane: ControlPlane) -> Iterator[None]:
    """A cluster with the kinds of Envoy Gateway, and a GatewayClass of it."""
    files = [f"--filename={builds.Module('envoy-gateway').output / CRDS.format(name)}" for name in POLICIES]
    plane.kubectl("apply", "--server-side", *files)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)
    described = {"kind": "GatewayClass", "apiVersion": "gateway.networking.k8s.io/v1"}
    gateway_class = {**described, "metadata": {"name": "envoy"}, "spec": {"controllerName": CONTROLLER}}
    plane.kubectl("apply", "--filename=-", stdin=json.dumps(gateway_class))
    yield
    plane.kubectl("delete", "gatewayclass", "envoy")
    plane.kubectl("delete", *files)


@pytest.fixture
def quota(plane: ControlPlane, team: Team) -> Iterator[Object]:
    """A TenantQuota of the team's namespace, whose callers have keys; not there yet."""
    limits = {"requestsPerMinute": 600}
    callers = {"auth": {"apiKeys": {"secretNames": ["keys"]}}, "perTenant": limits, "perUser": limits}
    yield {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": team.namespace},
        "spec": {"namespaces": [team.namespace], "callers": callers},
    }
    plane.kubectl("delete", "tq", team.namespace, "--ignore-not-found")


def declare(team: Team, quota: Object) -> None:
    """Declare a Gateway in the team's namespace, a model behind it and its tenant."""
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    team.apply(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "models", "annotations": {"pilothouse.dev/callers": "APIKeys"}},
            "spec": {"gatewayClassName": "envoy", "listeners": listeners},
        }
    )
    team.declare(route={"parentRefs": [{"name": "models"}], "pathPrefix": "/coder"})
    team.apply(quota)


def policies(team: Team) -> set[tuple[str, str]]:
    """Name what is there of Envoy Gateway's kinds."""
    found = json.loads(team.kubectl("get", ",".join(POLICIES), "--output=json"))["items"]
    return {(each["kind"], each["metadata"]["name"]) for each in found}


def accept(team: Team, kind: str, name: str) -> None:
    """Answer as Envoy Gateway does."""
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "Policy has been accepted.",
        "lastTransitionTime": "2026-11-01T00:00:00Z",
    }
    ancestor = {"ancestorRef": {"name": "models"}, "controllerName": CONTROLLER, "conditions": [condition]}
    patch = json.dumps({"status": {"ancestors": [ancestor]}})
    team.kubectl("patch", kind, name, "--subresource=status", "--type=merge", f"--patch={patch}")


def held(team: Team) -> dict[str, bool]:
    """Return what the TenantQuota's status says of its limits."""
    status = team.get("tq", team.namespace).get("status", {})
    return {each["limit"]: each["enforced"] for each in status.get("enforcement", [])}


def removed(team: Team) -> set[str]:
    """Return the headers that the model's route removes."""
    rules = team.get("httproute", "qwen-coder")["spec"]["rules"]
    return set(rules[0]["filters"][0]["requestHeaderModifier"]["remove"])


@pytest.mark.usefixtures("envoy_gateway")
def test_a_tenant_is_named_once_its_secret_was_accepted_and_leaves_nothing_behind(
    team: Team, quota: Object, start_operator: StartOperator
) -> None:
    start_operator().wait_ready().wait_leading()
    declare(team, quota)
    trial = f"{NAME}-{team.namespace}"
    first = {("ClientTrafficPolicy", NAME), ("SecurityPolicy", trial), ("BackendTrafficPolicy", NAME)}
    wait_for("the trial", lambda: policies(team) == first, seconds=30)
    wait_for("the route", lambda: "x-pilothouse-tenant" in removed(team), seconds=30)
    wait_for("the status", lambda: held(team).get("auth") is False, seconds=30)

    accept(team, "securitypolicy", trial)
    wait_for("the policy", lambda: policies(team) == {*first, ("SecurityPolicy", NAME)}, seconds=30)
    for kind in ("securitypolicy", "clienttrafficpolicy", "backendtrafficpolicy"):
        accept(team, kind, NAME)
    wait_for("the route to believe", lambda: "x-pilothouse-tenant" not in removed(team), seconds=30)
    wait_for("all to be held", lambda: all(held(team).values()), seconds=30)
    assert held(team).keys() == {"auth", "perTenant.requestsPerMinute", "perUser.requestsPerMinute"}

    team.kubectl("delete", "tq", team.namespace)
    wait_for("nothing to be left", lambda: policies(team) == set(), seconds=30)
    wait_for("the trial's route to go", lambda: trial not in team.kubectl("get", "httproutes"), seconds=30)


@pytest.mark.usefixtures("envoy_gateway")
def test_what_somebody_changes_beside_a_gateway_comes_back_and_goes_with_its_annotation(
    team: Team, quota: Object, start_operator: StartOperator
) -> None:
    start_operator().wait_ready().wait_leading()
    declare(team, quota)
    wait_for("the policies", lambda: ("ClientTrafficPolicy", NAME) in policies(team), seconds=30)
    team.kubectl("delete", "clienttrafficpolicy", NAME)
    wait_for("it to come back", lambda: ("ClientTrafficPolicy", NAME) in policies(team), seconds=30)
    team.kubectl("annotate", "gateway", "models", "pilothouse.dev/callers-")
    wait_for("nothing to be left", lambda: policies(team) == set(), seconds=30)


def test_only_the_namespaces_that_are_named_reach_engines(team: Team, start_operator: StartOperator) -> None:
    operator = start_operator(ALLOWED_NAMESPACES="gateways").wait_ready().wait_leading()
    team.declare()
    wait_for("the NetworkPolicy", lambda: fence(team) == ["gateways", "pilothouse-system"], seconds=30)
    operator.terminate()
    start_operator("b").wait_ready().wait_leading()
    wait_for("it to go", lambda: fence(team) == [], seconds=30)


def fence(team: Team) -> list[str]:
    """Return the namespaces that a model's NetworkPolicy lets in; [] where it has none."""
    try:
        found = team.get("networkpolicy", "qwen-coder")
    except HarnessError:
        return []
    [peer] = found["spec"]["ingress"][0]["from"]
    values: list[str] = peer["namespaceSelector"]["matchExpressions"][0]["values"]
    return values
