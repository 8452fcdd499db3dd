"""Two replicas: one writes, the other follows at once when it goes."""

import pytest

from children import OF_A_MODEL
from integration.loop.conftest import SYSTEM, StartOperator
from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import Team


@pytest.fixture
def pair(start_operator: StartOperator) -> tuple[OperatorProcess, OperatorProcess]:
    """A leader and a standby."""
    leader = start_operator("one").wait_ready().wait_leading()
    return leader, start_operator("two").wait_ready()


def _holder(plane: ControlPlane) -> str:
    return plane.kubectl(
        "--namespace", SYSTEM, "get", "lease", "pilothouse", "--output=jsonpath={.spec.holderIdentity}"
    )


def test_a_standby_is_ready_and_writes_nothing(
    pair: tuple[OperatorProcess, OperatorProcess], team: Team
) -> None:
    leader, standby = pair
    team.declare()
    team.wait_for_rest()
    assert leader.writes() > 0
    assert standby.metric("pilothouse_leader") == 0
    assert standby.writes() == 0


def test_a_killed_leader_is_followed_when_its_lease_has_passed(
    pair: tuple[OperatorProcess, OperatorProcess], team: Team
) -> None:
    leader, standby = pair
    leader.kill()
    team.declare()
    standby.wait_leading()
    team.wait_for_rest()


def test_a_leader_that_is_asked_to_stop_hands_over_before_its_lease_has_passed(
    start_operator: StartOperator, plane: ControlPlane
) -> None:
    leader = start_operator("one", LEASE_SECONDS="600").wait_ready().wait_leading()
    standby = start_operator("two", LEASE_SECONDS="600").wait_ready()
    assert leader.terminate() == 0
    assert _holder(plane) in ("", standby.identity)
    standby.wait_leading()


def test_a_leader_that_is_asked_to_stop_finishes_what_it_has_begun(
    start_operator: StartOperator, team: Team
) -> None:
    operator = start_operator().wait_ready().wait_leading()
    names = [f"model-{number}" for number in range(10)]
    for name in names:
        team.declare(name)
    assert operator.terminate() == 0
    for name in names:
        kinds = {kind for kind, _ in team.children(name)}
        assert len(kinds) in (0, len(OF_A_MODEL)), f"{name} was left half done: {kinds}"


def test_a_restarted_container_takes_up_its_own_lease_at_once(start_operator: StartOperator) -> None:
    killed = start_operator("pod-0", LEASE_SECONDS="60").wait_ready().wait_leading()
    killed.kill()
    start_operator("pod-0", LEASE_SECONDS="60").wait_ready().wait_leading()
