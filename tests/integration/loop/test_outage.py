"""An API server that is away for a while: the operator lives on and catches up."""

import time

from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import Team


def test_an_api_server_that_was_away_finds_the_operator_alive_and_working(
    plane: ControlPlane, operator: OperatorProcess, team: Team
) -> None:
    team.declare()
    team.wait_for_rest()
    process = operator.process
    plane.stop_api_server()
    _be_away(operator, seconds=30)
    plane.start_api_server()
    operator.wait_leading()
    team.declare("declared-afterwards")
    team.kubectl("delete", "deployment", team.child("Deployment"))
    team.wait_for_children("qwen-coder", "declared-afterwards")
    assert operator.process is process
    assert operator.is_running
    assert [line for line in operator.lines() if line["level"] == "error"] == []


def _be_away(operator: OperatorProcess, seconds: float) -> None:
    """Let time pass, and see that the probes hold all along: a restart would heal nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert operator.probe("healthz") == 200
        assert operator.probe("readyz") == 200
        time.sleep(0.5)
