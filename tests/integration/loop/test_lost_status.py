"""What a status that somebody loses, by a restore from a backup say, costs: by a real API server."""

import json
from typing import Any

from builders import OTHER_COMMIT
from harness.shell import wait_for
from integration.loop.conftest import StartOperator
from integration.loop.process import OperatorProcess
from integration.loop.team import Team
from pilothouse.names import COMMAND, REJECTED
from pilothouse.plan.observed import Object

NEW: Object = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}, "rollout": {"paused": True}}


def _status(team: Team) -> Object:
    status: Object = team.get("md", "qwen-coder").get("status", {})
    return status


def _write_status(team: Team, *operations: dict[str, Any]) -> None:
    patch = f"--patch={json.dumps(operations)}"
    team.kubectl("patch", "md/qwen-coder", "--subresource=status", "--type=json", patch)


def _serve(team: Team) -> str:
    """Declare a model, say that it has served, and name its revision: here are no nodes for its pods."""
    team.declare(replicas=1)
    team.wait_for_rest()
    revision = str(_status(team)["stable"]["revision"])
    served = {"revision": revision, "servedFrom": "2026-11-29T00:00:00Z"}
    _write_status(team, {"op": "add", "path": "/status/history", "value": [served]})
    return revision


def _reject(team: Team) -> str:
    """Ask for another revision, abort it while it waits, and name it."""
    team.declare(replicas=1, **NEW)
    wait_for("the wait", lambda: (_status(team).get("rollout") or {}).get("state") == "Waiting")
    revision = str(_status(team)["rollout"]["message"].split()[1])
    team.kubectl("annotate", "md/qwen-coder", f"{COMMAND}=abort/{revision}")
    wait_for("the rejection", lambda: bool(_status(team)["rejectedRevisions"]))
    team.kubectl("annotate", "md/qwen-coder", f"{COMMAND}-")
    return revision


def _kept(team: Team, revision: str) -> str:
    record = team.get("controllerrevisions.apps", f"qwen-coder-{revision}")
    return str(record["metadata"]["annotations"].get(REJECTED, ""))


def test_a_rejected_revision_stays_rejected_though_the_status_is_lost(
    operator: OperatorProcess, start_operator: StartOperator, team: Team
) -> None:
    """L8."""
    stable, failed = _serve(team), _reject(team)
    wait_for("the record", lambda: failed in _kept(team, stable))
    rejected = _status(team)["rejectedRevisions"]
    assert operator.terminate() == 0

    _write_status(team, {"op": "remove", "path": "/status"})
    start_operator("second").wait_ready().wait_leading()
    wait_for("a status", lambda: bool(_status(team).get("stable")))
    assert _status(team)["rejectedRevisions"] == rejected
    assert _status(team)["stable"]["revision"] == stable
