"""Scaling changes how many pods run, and nothing else."""

import json

import pytest

from e2e.manifests import Object, model_deployment
from e2e.team import Team

NAME = "scaled"


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.apply(model_deployment(NAME, team.namespace, team.lane))
    team.wait_ready(NAME)


def uids(team: Team) -> set[str]:
    return {pod["metadata"]["uid"] for pod in team.pods(NAME)}


def untouched(team: Team) -> list[Object]:
    """What scaling must leave alone: everything of the model but the Deployment's count."""
    kinds = "services,poddisruptionbudgets,controllerrevisions,httproutes"
    children = team.all(kinds, f"pilothouse.dev/deployment={NAME}")
    [deployment] = team.all("deployments", f"pilothouse.dev/deployment={NAME}")
    return [
        *(
            {"uid": child["metadata"]["uid"], "spec": child.get("spec") or child["data"]}
            for child in children
        ),
        deployment["spec"]["template"],
    ]


def test_scaling_keeps_the_pods_the_revision_and_the_route(team: Team) -> None:
    pods, rest = uids(team), untouched(team)

    team.kubectl("scale", f"md/{NAME}", "--replicas=2")
    team.wait_ready(NAME)
    assert len(uids(team)) == 2
    assert pods < uids(team)

    team.kubectl("scale", f"md/{NAME}", "--replicas=1")
    team.wait_ready(NAME)
    assert len(uids(team)) == 1
    assert untouched(team) == rest


def test_the_scale_subresource_tells_an_autoscaler_what_it_needs(team: Team) -> None:
    path = f"/apis/pilothouse.dev/v1alpha1/namespaces/{team.namespace}/modeldeployments/{NAME}/scale"
    scale = json.loads(team.kubectl("get", "--raw", path))

    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 1, "selector": f"pilothouse.dev/deployment={NAME}"}


def test_a_model_scaled_to_zero_is_ready_without_pods_and_comes_back(team: Team) -> None:
    team.kubectl("scale", f"md/{NAME}", "--replicas=0")
    team.wait_ready(NAME)
    assert team.condition(NAME, "WorkloadReady")["reason"] == "ScaledToZero"

    team.kubectl("scale", f"md/{NAME}", "--replicas=1")
    team.wait_ready(NAME)
    assert len(uids(team)) == 1
