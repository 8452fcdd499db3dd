"""An operator that is killed at any moment, over and over, ends where an undisturbed one ends."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from builders import manifest
from harness.shell import wait_for
from integration.loop.conftest import StartOperator
from integration.loop.control_plane import ControlPlane
from integration.loop.team import Team

MODELS = 50
KILLS = 20
KINDS = "md,deployments,services,poddisruptionbudgets,controllerrevisions.apps,httproutes"
OF_THE_CLUSTER = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "namespace")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def teams(plane: ControlPlane) -> Iterator[tuple[Team, Team]]:
    """Two teams whose namespaces have names of the same length."""
    teams = tuple(Team(plane, f"team-{uuid4().hex[:8]}") for _ in range(2))
    for team in teams:
        team.create_namespace()
    yield teams[0], teams[1]
    for team in teams:
        team.delete_all()


def test_twenty_kills_leave_what_an_undisturbed_run_leaves(
    start_operator: StartOperator, teams: tuple[Team, Team]
) -> None:
    disturbed, undisturbed = teams
    moments = random.Random(20)  # noqa: S311 -- not cryptography
    for context in (4096, 8192):
        _declare(disturbed, context)
        for _ in range(KILLS // 2):
            operator = start_operator("pod-0").wait_ready()
            time.sleep(moments.uniform(0, 2))  # the random moment, not a wait for anything
            operator.kill()
        _settle(start_operator, disturbed, context)
        _declare(undisturbed, context)
        _settle(start_operator, undisturbed, context)
    assert _state(disturbed) == _state(undisturbed)


def _declare(team: Team, context: int) -> None:
    """Apply all ModelDeployments; a change of `context` is a new revision."""
    engine = {"image": "vllm/vllm-openai:v0.32.0", "extraArgs": [f"--max-num-batched-tokens={context}"]}
    items = []
    for number in range(MODELS):
        obj = manifest({"replicas": 0, "engine": engine, "route": {"pathPrefix": f"/models/{number}"}})
        obj["metadata"] = {"name": f"model-{number:02}", "namespace": team.namespace}
        items.append(obj)
    team.apply({"apiVersion": "v1", "kind": "List", "items": items})


def _settle(start_operator: StartOperator, team: Team, context: int) -> None:
    """Let one operator bring all to its end."""
    operator = start_operator("pod-0").wait_ready()
    wait_for("all to be settled", lambda: _is_settled(team, context), seconds=240, pause=1)
    assert operator.terminate() == 0


def _is_settled(team: Team, context: int) -> bool:
    objects = _objects(team)
    models = [obj for obj in objects if obj["kind"] == "ModelDeployment"]
    told = [
        obj
        for obj in models
        if obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"]
    ]
    current = [
        obj for obj in objects if obj["kind"] == "Deployment" and str(context) in json.dumps(obj["spec"])
    ]
    return len(told) == len(current) == MODELS and len(objects) == 7 * MODELS


def _objects(team: Team) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(team.kubectl("get", KINDS, "--output=json"))["items"]
    return items


def _state(team: Team) -> dict[str, Any]:
    """Return what users see, without what each cluster object has of its own."""
    return {f"{obj['kind']}/{obj['metadata']['name']}": _shown(obj, team.namespace) for obj in _objects(team)}


def _shown(obj: dict[str, Any], namespace: str) -> Any:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in OF_THE_CLUSTER}
    metadata["ownerReferences"] = [owner["name"] for owner in metadata.get("ownerReferences", [])]
    metadata.get("annotations", {}).pop("pilothouse.dev/applied", None)
    shown = {**obj, "metadata": metadata}
    status = shown.get("status", {})
    shown["status"] = [
        (entry["type"], entry["status"], entry["reason"]) for entry in status.get("conditions", [])
    ]
    if obj["kind"] == "Service":
        shown["spec"] = {key: value for key, value in obj["spec"].items() if not key.startswith("clusterIP")}
    return json.loads(json.dumps(shown).replace(namespace, "NAMESPACE"))
