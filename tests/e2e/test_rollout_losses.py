"""What all models share is lost while revisions roll out: the operator's leader, every Envoy.

These take from the others what they stand on, so they run alone.
"""

import asyncio
from copy import deepcopy
from dataclasses import dataclass

import pytest

from e2e.fixtures import Kubectl, Staged
from e2e.installed import Operator
from e2e.manifests import fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story
from harness.gateway import selector
from harness.shell import wait_for
from pilothouse.kinds import LEASE
from pilothouse.names import RolloutState

pytestmark = pytest.mark.alone

POLICY = {"steps": [{"weight": 50, "hold": "2s"}], "bake": "2s"}
LED, REROUTED = "led", "rerouted"


@dataclass(frozen=True)
class Seen:
    """The stories of both models, and what callers lost while the leader changed."""

    stories: dict[str, Story]
    lost: list[str]


@pytest.fixture(scope="module")
def seen(staged: Staged, operator: Operator, kubectl: Kubectl) -> Seen:
    """Play one scene after the other, since no caller of the first may lose anything."""

    async def play() -> Seen:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            await asyncio.gather(made.served(LED), made.served(REROUTED))
            lost = await led(made, operator)
            await rerouted(made, kubectl)
            return Seen(deepcopy(dict(made.stories)), lost)

    return asyncio.run(play())


async def led(made: Stage, operator: Operator) -> list[str]:
    """The leader is killed while a weight is held."""
    async with made.called(LED) as calls:
        await made.declare(LED, model=model(fresh_commit()))
        await made.at(LED, RolloutState.HOLDING)
        await asyncio.to_thread(end_leader, operator)
        await made.until(LED, lambda story: RolloutState.BAKING in story.states)
        await made.rested(LED)
    return calls.lost


def end_leader(operator: Operator) -> None:
    """Kill the operator's pod that leads, without grace."""
    holder = "jsonpath={.spec.holderIdentity}"
    leader = operator.kubectl("get", "lease", "pilothouse", f"--output={holder}").strip()
    operator.kubectl("delete", "pod", leader, "--force", "--grace-period=0", "--wait=false")
    wait_for(
        "another leader",
        lambda: operator.kubectl("get", LEASE.plural, "pilothouse", f"--output={holder}").strip() != leader,
    )


async def rerouted(made: Stage, kubectl: Kubectl) -> None:
    """All Envoys are deleted while the canary has half of the traffic."""
    envoys = ("--namespace=envoy-gateway-system", f"--selector={selector()}")
    async with made.called(REROUTED):
        await made.declare(REROUTED, model=model(fresh_commit()))
        await made.until(REROUTED, lambda story: story.counted > 0)
        await asyncio.to_thread(kubectl, "delete", "pods", *envoys, "--wait=false")
        await made.until(REROUTED, lambda story: RolloutState.BAKING in story.states)
        await made.rested(REROUTED)


def test_a_new_leader_goes_on_where_the_former_stood(seen: Seen) -> None:
    """O2."""
    assert seen.stories[LED].weights == [0, 50, 100, 0]
    assert not seen.lost


def test_a_rollout_outlives_every_envoy(seen: Seen) -> None:
    story = seen.stories[REROUTED]

    assert story.weights == [0, 50, 100, 0]
    assert not story.rejected
    assert "lastRollback" not in story.status
