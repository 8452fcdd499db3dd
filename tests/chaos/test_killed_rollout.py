"""An operator that is killed at each turn of a rollout ends it where an undisturbed one ends it (O1, A20).

A good and a bad revision roll out, once undisturbed and once with `kill -9` as soon as either reaches a state
in which no operator was killed yet.
"""

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.manifests import Object, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story, stage
from harness.outside import Process, operator
from pilothouse.names import Reason, RolloutState, Verb

pytestmark = pytest.mark.alone

POLICY = {
    "steps": [{"preflight": {}}, {"weight": 20, "hold": "2s"}, {"pause": {}}, {"weight": 50, "hold": "2s"}],
    "bake": "4s",
}
GOOD, BAD = "good", "bad"
DEADLINE = 180
STATES = {
    RolloutState.STARTING,
    RolloutState.PREFLIGHT,
    RolloutState.SHIFTING,
    RolloutState.HOLDING,
    RolloutState.PAUSED,
    RolloutState.BAKING,
    RolloutState.DRAINING,
}


@dataclass(frozen=True)
class Ending:
    """How both rollouts went, what callers lost, and at which states the operator was killed."""

    stories: dict[str, Story]
    lost: list[str]
    killed: set[str]


class Killer:
    """Kills the operator at each state that it has not been killed at."""

    def __init__(self, made: Stage, process: Process) -> None:
        self.killed: set[str] = set()
        self._made = made
        self._process = process

    async def run(self) -> None:
        """Go on until nobody needs it any more."""
        while True:
            story = await self._made.until_any((GOOD, BAD), self._is_new, DEADLINE)
            self.killed.add(story.state)
            await asyncio.to_thread(self._restart)

    def _is_new(self, story: Story) -> bool:
        return story.state in STATES - self.killed

    def _restart(self) -> None:
        self._process.kill()
        self._process.start()
        self._process.wait_leading()


@pytest.fixture(scope="module")
def process(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with operator(kubeconfig, tmp_path_factory.mktemp("operator")) as process:
        process.start()
        yield process


@pytest.fixture(scope="module")
def endings(kubeconfig: Path, gateway_url: str, process: Process) -> tuple[Ending, Ending]:
    """Roll out undisturbed, then disturbed."""

    async def play(*, kills: bool) -> Ending:
        async with stage(kubeconfig, gateway_url, POLICY, {"objectives": OBJECTIVES}) as made:
            return await rolled_out(made, Killer(made, process) if kills else None)

    return asyncio.run(play(kills=False)), asyncio.run(play(kills=True))


async def rolled_out(made: Stage, killer: Killer | None) -> Ending:
    await asyncio.gather(made.served(GOOD), made.served(BAD))
    killing = asyncio.create_task(killer.run()) if killer else None
    async with made.called(GOOD, 10) as calls, made.called(BAD, 10):
        await asyncio.gather(promoted(made), rolled_back(made))
        await asyncio.gather(made.rested(GOOD, DEADLINE), made.rested(BAD, DEADLINE))
    if killing:
        killing.cancel()
    return Ending(deepcopy(dict(made.stories)), calls.lost, killer.killed if killer else set())


async def promoted(made: Stage) -> None:
    await made.declare(GOOD, model=model(fresh_commit()))
    story = await made.at(GOOD, RolloutState.PAUSED, DEADLINE)
    await made.say(GOOD, Verb.PROMOTE, story.canary)
    await made.until(GOOD, lambda story: RolloutState.DRAINING in story.states, DEADLINE)


async def rolled_back(made: Stage) -> None:
    """Begin when the good one is half-way: what it passed while the operator was away is met again."""
    await made.until(GOOD, lambda story: RolloutState.PAUSED in story.states, DEADLINE)
    await made.declare(BAD, model=model(fresh_commit()))
    story = await made.at(BAD, RolloutState.PAUSED, DEADLINE)
    await made.fault(BAD, story.canary, unhealthy=True)
    await made.rolled_back(BAD, DEADLINE)


def summary(story: Story) -> Object:
    """What users see in the end, without what each run has of its own."""
    status = story.status
    return {
        "phase": status["phase"],
        "held": story.held,
        "served": len(status["history"]),
        "rollback": status.get("lastRollback", {}).get("reason"),
        "rejected": len(story.rejected),
        "routed": list(story.routed[-1].values()),
        "pods": len(story.pods),
    }


@pytest.mark.parametrize("name", [GOOD, BAD])
def test_kills_at_each_state_change_nothing_in_the_end(endings: tuple[Ending, Ending], name: str) -> None:
    """O1."""
    undisturbed, disturbed = endings

    assert summary(disturbed.stories[name]) == summary(undisturbed.stories[name])


def test_the_operator_was_killed_at_each_state(endings: tuple[Ending, Ending]) -> None:
    """O1."""
    assert endings[1].killed == STATES


def test_no_weight_goes_back_and_forth(endings: tuple[Ending, Ending]) -> None:
    """O2, A20."""
    good, bad = (endings[1].stories[name].weights for name in (GOOD, BAD))

    assert good == [0, 20, 50, 100, 0]
    assert bad == [0, 20, 0]


def test_no_request_of_the_good_one_is_lost(endings: tuple[Ending, Ending]) -> None:
    """O1."""
    assert [ending.lost for ending in endings] == [[], []]


def test_what_is_wrong_is_found_all_the_same(endings: tuple[Ending, Ending]) -> None:
    """O1, A10."""
    reasons = {ending.stories[BAD].status["lastRollback"]["reason"] for ending in endings}

    assert reasons == {Reason.ENGINE_NOT_READY}
