"""A cluster may lack the Gateway API, get it later and lose it again: that costs the route, and says so."""

import json
from collections.abc import Iterator

import pytest

from harness.shell import wait_for
from integration.loop.conftest import StartOperator
from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import HEAL_SECONDS, Team


@pytest.fixture
def without_gateway_api(plane: ControlPlane) -> Iterator[None]:
    """A cluster without the Gateway API."""
    plane.remove_gateway_api()
    yield
    plane.install_gateway_api()


@pytest.mark.usefixtures("without_gateway_api")
def test_the_gateway_api_may_be_missing_come_go_and_come_again(
    plane: ControlPlane, start_operator: StartOperator, team: Team
) -> None:
    operator = start_operator().wait_ready().wait_leading()
    team.declare()
    team.wait_for_rest(missing=("HTTPRoute",))
    assert team.condition("RouteProgrammed") == ("False", "GatewayAPIMissing")
    for _ in range(2):
        plane.install_gateway_api()
        team.wait_for_children()
        wait_for("the reason", lambda: team.condition("RouteProgrammed") == ("False", "GatewayNotFound"))
        _assert_routes_are_watched(team)
        plane.remove_gateway_api()
        wait_for("the reason", lambda: team.condition("RouteProgrammed") == ("False", "GatewayAPIMissing"))
        team.wait_for_children(missing=("HTTPRoute",))
    team.declare("another")
    team.wait_for_children("another", missing=("HTTPRoute",))
    assert operator.is_running
    assert operator.probe("healthz") == 200


@pytest.fixture
def deaf(plane: ControlPlane, start_operator: StartOperator) -> Iterator[OperatorProcess]:
    """An operator that does not hear of kinds that come and go, as one on a busy machine hears of it late."""
    role = json.loads(plane.kubectl("get", "clusterrole", "pilothouse", "--output=json"))
    del role["metadata"]["resourceVersion"]
    rules = [rule for rule in role["rules"] if "customresourcedefinitions" not in rule.get("resources", ())]
    assert rules != role["rules"]
    plane.kubectl("replace", "--filename=-", stdin=json.dumps(role | {"rules": rules}))
    yield start_operator().wait_ready().wait_leading()
    plane.kubectl("replace", "--filename=-", stdin=json.dumps(role))
    plane.install_gateway_api()


def test_a_watched_kind_may_go_before_the_operator_hears_of_it(
    plane: ControlPlane, deaf: OperatorProcess, team: Team
) -> None:
    team.declare()
    team.wait_for_rest()
    plane.remove_gateway_api()
    wait_for("the reason", lambda: team.condition("RouteProgrammed") == ("False", "GatewayAPIMissing"))
    plane.install_gateway_api()
    team.wait_for_children()
    _assert_routes_are_watched(team)
    assert deaf.is_running


def _assert_routes_are_watched(team: Team) -> None:
    team.kubectl("delete", "httproute", "qwen-coder")
    wait_for("the route", lambda: ("HTTPRoute", "qwen-coder") in team.children(), seconds=HEAL_SECONDS)
