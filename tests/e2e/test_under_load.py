"""Nobody who calls notices that pods come and go: every stream ends with its finish reason and [DONE]."""

import asyncio

import pytest

from e2e.manifests import Object, fresh_commit, model
from e2e.team import Team
from e2e.traffic import load
from harness.shell import wait_for

# 30 ms a token: long streams take two seconds, so that some are under way whenever a pod is told to end.
ENGINE = {"image": "pilothouse.dev/vllm-sim:v0.32.0", "env": [{"name": "VLLM_SIM_DECODE_MS", "value": "30"}]}
NAMES = ("restarted", "repinned", "evicted")


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.apply(*(declared(team, name) for name in NAMES))
    team.wait_ready(*NAMES)


@pytest.fixture
def urls(team: Team, gateway_url: str) -> dict[str, str]:
    return {name: f"{gateway_url}/{team.namespace}/{name}/v1" for name in NAMES}


def declared(team: Team, name: str, **spec: Object) -> Object:
    return team.model(name, engine=ENGINE, replicas=2, **spec)


def names_of_pods(team: Team, name: str) -> set[str]:
    """Pods of a model, those on their way out included."""
    pods = team.all("pods", f"pilothouse.dev/deployment={name}")
    return {pod["metadata"]["name"] for pod in pods}


def wait_until_gone(team: Team, name: str, pods: set[str]) -> None:
    wait_for("the former pods to end", lambda: not pods & names_of_pods(team, name), seconds=90, pause=0.5)


async def test_a_rolling_restart_loses_no_request(team: Team, urls: dict[str, str]) -> None:
    former = names_of_pods(team, "restarted")

    async with load(urls["restarted"]) as running:
        await asyncio.to_thread(team.kubectl, "rollout", "restart", f"deployment/{team.child('restarted')}")
        await asyncio.to_thread(wait_until_gone, team, "restarted", former)

    assert running.served > 20
    assert not running.lost


async def test_a_new_revision_takes_over_without_losing_a_request(team: Team, urls: dict[str, str]) -> None:
    former = names_of_pods(team, "repinned")

    async with load(urls["repinned"]) as running:
        await asyncio.to_thread(team.apply, declared(team, "repinned", model=model(fresh_commit())))
        await asyncio.to_thread(team.wait_ready, "repinned")
        await asyncio.to_thread(wait_until_gone, team, "repinned", former)

    assert running.served > 20
    assert not running.lost


async def test_a_deleted_pod_finishes_what_it_generates(team: Team, urls: dict[str, str]) -> None:
    former = names_of_pods(team, "evicted")
    first = min(former)

    async with load(urls["evicted"]) as running:
        await asyncio.to_thread(team.kubectl, "delete", "pod", first)

    assert running.served > 20
    assert not running.lost
