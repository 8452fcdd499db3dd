"""What a rollout stands on is away: Prometheus, free GPUs.

Scenes play at the same time, and each test looks at one of them.
"""

import asyncio
import socket
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.fixtures import Staged
from e2e.manifests import SMALL, Object, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story, weight_of
from integration.prometheus import PrometheusServer, discovered
from pilothouse.names import Reason, RolloutState

POLICY = {"steps": [{"weight": 50, "hold": "1s"}], "bake": "1s"}
ENGINE_PORT = 8000
BLIND, STORM = "blind", "storm"
ENOUGH, MORE_THAN_COME = 60, 1_000_000
"""Requests: by the latter nothing is judged before Prometheus goes down, however late this test is."""


@dataclass(frozen=True)
class Seen:
    """The stories of all models as they ended, and what was looked at on the way."""

    stories: dict[str, Story]
    dark: Story
    """Of the good revision, when Prometheus had been down until the bad one was rolled back."""
    full: Story
    """Of the one replica, when there was no free GPU for another."""
    lost_when_full: list[str]
    swaps: dict[int, list[Object]]
    """The statuses of rollouts that had no free GPU, by their replicas."""


@pytest.fixture(scope="module")
def seen(staged: Staged, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Play all scenes."""

    async def play() -> Seen:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            measured = measured_elsewhere(made, tmp_path_factory.mktemp("prometheus"))
            dark, ((full, lost), pair) = await asyncio.gather(measured, crowded(made))
            eight = await all_of_them(made)
            return Seen(dict(made.stories), dark, full, lost, {2: pair, 8: eight})

    return asyncio.run(play())


async def measured_elsewhere(made: Stage, folder: Path) -> Story:
    """Prometheus goes down while a good and a bad revision have half of the traffic, and comes back."""
    await asyncio.gather(made.served(BLIND), made.served(STORM))
    server = PrometheusServer(folder, [], ["pilothouse-engines"], address_for(made.stories[BLIND]))
    policy = f"{made.name}-prometheus"
    try:
        await made.policy(policy, **POLICY, analysis=asked_of(server, MORE_THAN_COME))
        telling = asyncio.create_task(tell_pods(made, server))
        async with made.called(BLIND), made.called(STORM):
            dark = await in_the_dark(made, server)
            server.start()
            await made.policy(policy, **POLICY, analysis=asked_of(server, ENOUGH))
            await made.until(BLIND, lambda story: RolloutState.BAKING in story.states)
            await asyncio.gather(made.rested(BLIND), made.rested(STORM))
        telling.cancel()
    finally:
        server.stop()
    await asyncio.gather(made.remove(BLIND), made.remove(STORM))
    return dark


def asked_of(server: PrometheusServer, requests: int) -> Object:
    """How a policy measures by this Prometheus; no revision is judged by fewer requests."""
    return {
        "source": "Prometheus",
        "prometheus": {"url": server.url},
        "interval": "1s",
        "minRequests": requests,
        "warmupRequests": 5,
    }


async def in_the_dark(made: Stage, server: PrometheusServer) -> Story:
    """Stop Prometheus as soon as it has measured the good revision, and break the other one."""
    follows = {"rollout": {"policyName": f"{made.name}-prometheus"}}
    for name in (BLIND, STORM):
        await made.declare(name, model=model(fresh_commit()), **follows)
    await made.until(BLIND, lambda story: story.counted > 0)
    server.stop()
    await asyncio.gather(*(made.until(name, is_without_metrics) for name in (BLIND, STORM)))
    await made.fault(STORM, made.stories[STORM].canary, errors={"status": 500})
    await made.rolled_back(STORM)
    return deepcopy(made.stories[BLIND])


def is_without_metrics(story: Story) -> bool:
    """Tell whether the rollout says that it cannot measure."""
    return bool((story.status.get("rollout") or {}).get("reason") == Reason.METRICS_UNAVAILABLE)


async def tell_pods(made: Stage, server: PrometheusServer) -> None:
    """Tell Prometheus of the pods as they come, as its service discovery would."""
    known: list[Object] = []
    while True:
        found = [
            discovered(pod, name, ENGINE_PORT)
            for name in (BLIND, STORM)
            for pod in made.stories[name].pods.values()
            if pod["status"].get("podIP")
        ]
        if found != known:
            server.tell(found)
            known = found
        await asyncio.sleep(0.2)


def address_for(story: Story) -> str:
    """Return the address of this machine that the pods of the cluster can reach."""
    pod = next(iter(story.pods.values()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((pod["status"]["podIP"], ENGINE_PORT))
        return str(probe.getsockname()[0])


def with_gpus(count: int) -> Object:
    """What a pod gets that asks for GPUs."""
    return {"resources": SMALL | {"gpu": {"count": count}}}


async def crowded(made: Stage) -> tuple[tuple[Story, list[str]], list[Object]]:
    """Two models roll out, one after the other, on a node whose GPUs are all taken."""
    await asyncio.gather(
        made.served("rest", **with_gpus(5)),
        made.served("single", **with_gpus(1)),
        made.served("pair", replicas=2, **with_gpus(1)),
    )
    full = await without_room(made)
    # What waits for a GPU would take the one that a swap sets free.
    await made.declare("single", **with_gpus(1))
    await made.rested("single")
    pair = await swapped(made)
    await asyncio.gather(*(made.remove(name) for name in ("rest", "single", "pair")))
    return full, pair


async def without_room(made: Stage) -> tuple[Story, list[str]]:
    """One replica has no free GPU for another."""
    async with made.called("single") as calls:
        await made.declare("single", model=model(fresh_commit()), **with_gpus(1))
        await made.until("single", lacks_gpu)
        full = deepcopy(made.stories["single"])
        await calls.until_answered(20)
    return full, calls.lost


def lacks_gpu(story: Story) -> bool:
    """Tell whether the rollout says that it waits for a GPU."""
    return bool((story.status.get("rollout") or {}).get("reason") == Reason.INSUFFICIENT_GPU)


async def swapped(made: Stage) -> list[Object]:
    """Two replicas roll out to the end; the statuses on the way."""
    async with made.called("pair"):
        seen = len(made.stories["pair"].statuses)
        await made.declare("pair", model=model(fresh_commit()), replicas=2, **with_gpus(1))
        await made.until("pair", lambda story: RolloutState.BAKING in story.states)
        story = await made.rested("pair")
    return story.statuses[seen:]


async def all_of_them(made: Stage) -> list[Object]:
    """A model that has every GPU of the node rolls out; two swaps show how."""
    await made.served("all", replicas=8, **with_gpus(1))
    async with made.called("all"):
        seen = len(made.stories["all"].statuses)
        await made.declare("all", model=model(fresh_commit()), replicas=8, **with_gpus(1))
        story = await made.until("all", lambda story: weight_of(story.status) == 2 * 100 // 8)
    return story.statuses[seen:]


def test_without_prometheus_a_rollout_neither_goes_on_nor_back(seen: Seen) -> None:
    """A4."""
    assert is_without_metrics(seen.dark)
    assert seen.dark.state == RolloutState.HOLDING
    assert seen.dark.weights == [0, 50]
    assert "lastRollback" not in seen.dark.status


def test_a_storm_of_errors_is_rolled_back_without_prometheus(seen: Seen) -> None:
    """A4."""
    story = seen.stories[STORM]

    assert story.status["lastRollback"]["reason"] == Reason.ERROR_STORM
    assert story.weights == [0, 50, 0]


def test_a_rollout_goes_on_when_prometheus_is_back(seen: Seen) -> None:
    story = seen.stories[BLIND]

    assert story.weights == [0, 50, 100, 0]
    assert not story.rejected


def test_one_replica_without_a_free_gpu_says_so_and_serves_on(seen: Seen) -> None:
    """C2."""
    assert seen.full.status["readyReplicas"] == 1
    assert seen.full.weights == [0]
    assert not seen.full.rejected
    assert not seen.lost_when_full


@pytest.mark.parametrize("replicas", [2, 8])
def test_without_a_free_gpu_pods_are_swapped_one_at_a_time(seen: Seen, replicas: int) -> None:
    """C1."""
    statuses = seen.swaps[replicas]

    assert "InPlace" in {(status.get("rollout") or {}).get("capacity") for status in statuses}
    assert min(status["readyReplicas"] for status in statuses) >= replicas - 1
    assert "lastRollback" not in statuses[-1]


def test_a_swap_of_pods_ends_with_the_new_revision(seen: Seen) -> None:
    """C1."""
    first, last = seen.swaps[2][0], seen.swaps[2][-1]

    assert last["stable"]["revision"] != first["stable"]["revision"]
