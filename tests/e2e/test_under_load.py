"""Nobody who calls notices that pods come and go: every stream ends with its finish reason and [DONE].

Pods come and go in three models at the same time, and each test looks at one of them.
"""

import asyncio

import pytest

from e2e.manifests import Object, fresh_commit, model
from e2e.team import Team
from e2e.traffic import Load, load
from harness.shell import wait_for

# 30 ms a token: long streams take two seconds, so that some are under way whenever a pod is told to end.
ENGINE = {"image": "pilothouse.dev/vllm-sim:v0.32.0", "env": [{"name": "VLLM_SIM_DECODE_MS", "value": "30"}]}


@pytest.fixture(scope="module")
def loads(team: Team, gateway_url: str) -> dict[str, Load]:
    """What became of the callers of each model while it was disturbed."""
    disturbances = {"restarted": restart, "repinned": repin, "evicted": evict}
    team.apply(*(declared(team, name) for name in disturbances))
    team.wait_ready(*disturbances)

    async def disturb(name: str) -> Load:
        async with load(f"{gateway_url}/{team.namespace}/{name}/v1") as running:
            await asyncio.to_thread(disturbances[name], team, name, names_of_pods(team, name))
        return running

    async def disturb_all() -> list[Load]:
        return await asyncio.gather(*map(disturb, disturbances))

    return dict(zip(disturbances, asyncio.run(disturb_all()), strict=True))


def declared(team: Team, name: str, **spec: Object) -> Object:
    return team.model(name, engine=ENGINE, replicas=2, **spec)


def names_of_pods(team: Team, name: str) -> set[str]:
    """Pods of a model, those on their way out included."""
    pods = team.all("pods", f"pilothouse.dev/deployment={name}")
    return {pod["metadata"]["name"] for pod in pods}


def wait_until_gone(team: Team, name: str, pods: set[str]) -> None:
    wait_for("the former pods to end", lambda: not pods & names_of_pods(team, name), seconds=90, pause=0.5)


def restart(team: Team, name: str, former: set[str]) -> None:
    team.kubectl("rollout", "restart", f"deployment/{team.child(name)}")
    wait_until_gone(team, name, former)


def repin(team: Team, name: str, former: set[str]) -> None:
    team.apply(declared(team, name, model=model(fresh_commit())))
    team.wait_ready(name)
    wait_until_gone(team, name, former)


def evict(team: Team, _: str, former: set[str]) -> None:
    team.kubectl("delete", "pod", min(former))


def test_a_rolling_restart_loses_no_request(loads: dict[str, Load]) -> None:
    assert loads["restarted"].served > 20
    assert not loads["restarted"].lost


def test_a_new_revision_takes_over_without_losing_a_request(loads: dict[str, Load]) -> None:
    assert loads["repinned"].served > 20
    assert not loads["repinned"].lost


def test_a_deleted_pod_finishes_what_it_generates(loads: dict[str, Load]) -> None:
    assert loads["evicted"].served > 20
    assert not loads["evicted"].lost
