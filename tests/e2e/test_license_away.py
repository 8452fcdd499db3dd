"""What legal forbids while the operator is away is not served by the operator that comes back."""

from collections.abc import Callable, Iterator

import pytest

from e2e.legal import FORBIDDEN, FORBIDS, GATED, GATES, Legal, licensed
from e2e.team import Team
from pilothouse.names import Reason

# It takes the operator away from everybody.
pytestmark = pytest.mark.alone


@pytest.fixture
def legal(kubectl: Callable[..., str], team: Team) -> Iterator[Legal]:
    """A policy that lets through everything but the ids of these tests."""
    legal = Legal(kubectl, team.namespace)
    legal.rule(FORBIDS, GATES)
    yield legal
    team.kubectl("delete", "md", "--all")
    legal.withdraw_policy()
    legal.withdraw_approval()


@pytest.mark.usefixtures("legal")
def test_a_denied_model_that_waits_for_the_operator_gets_no_pod(away: Callable[[], None], team: Team) -> None:
    team.apply(team.model("waits", model=licensed(FORBIDDEN)))
    away()

    team.wait_reason("waits", Reason.LICENSE_DENIED)
    assert not team.children("waits")


@pytest.fixture
def gated(legal: Legal, team: Team) -> str:
    """A model that serves by an approval."""
    legal.approve(GATED)
    team.apply(team.model("gated", model=licensed(GATED)))
    team.wait_ready("gated")
    return "gated"


def test_what_lost_its_approval_meanwhile_does_not_grow(
    gated: str, legal: Legal, away: Callable[[], None], team: Team
) -> None:
    legal.withdraw_approval()
    team.kubectl("scale", f"md/{gated}", "--replicas=3")
    away()

    team.wait_reason(gated, Reason.LICENSE_APPROVAL_REQUIRED)
    [deployment] = team.all("deployments", f"pilothouse.dev/deployment={gated}")
    assert deployment["spec"]["replicas"] == 1
    assert len(team.pods(gated)) == 1
