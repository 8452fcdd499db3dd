"""A good revision earns all traffic step by step, and whoever calls meanwhile notices nothing."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass

import pytest

from e2e.fixtures import Staged
from e2e.manifests import COMMIT, Object, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story
from e2e.traffic import Steady
from pilothouse.names import Reason, RolloutState

NAME = "good"
POLICY = {
    # The last hold is long enough for the share that is seen to be near the one that is meant.
    "steps": [{"preflight": {}}, {"weight": 20, "hold": "3s"}, {"weight": 50, "hold": "6s"}],
    "bake": "5s",
}


@dataclass(frozen=True)
class Promotion:
    """What was seen of a promotion: `pods` are those of the canary before it had all traffic."""

    commit: str
    former: str
    pods: dict[str, Object]
    story: Story
    calls: Steady
    events: list[str]


@pytest.fixture(scope="module")
def promotion(staged: Staged) -> Promotion:
    """Serve one revision, then another that is as good, with callers all the while."""

    async def play() -> Promotion:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            return await promoted(made)

    return asyncio.run(play())


async def promoted(made: Stage) -> Promotion:
    commit, story = fresh_commit(), await made.served(NAME, replicas=2)
    former = story.stable
    async with made.called(NAME, 25) as calls:
        await made.declare(NAME, replicas=2, model=model(commit))
        await made.at(NAME, RolloutState.BAKING)
        pods = {pod["metadata"]["uid"]: pod for pod in deepcopy(story.pods_of(story.canary))}
        await made.at(NAME, RolloutState.DRAINING)
        await made.rested(NAME)
    return Promotion(commit, former, pods, story, calls, await made.events(NAME))


def test_the_weights_follow_the_policy_and_are_always_all_of_the_traffic(promotion: Promotion) -> None:
    """G1."""
    new = promotion.story.stable

    assert promotion.story.held == [20, 50]
    assert [routed.get(new, 0) for routed in promotion.story.routed] == promotion.story.weights[:-1]
    assert promotion.story.weights == [*sorted(promotion.story.weights[:-1]), 0]
    assert {sum(routed.values()) for routed in promotion.story.routed} == {100}


def test_no_request_is_lost_on_the_way(promotion: Promotion) -> None:
    """G7, C5."""
    assert len(promotion.calls.answered) == 2
    assert min(promotion.calls.answered.values()) > 20
    assert not promotion.calls.lost


def test_a_promotion_restarts_no_pod(promotion: Promotion) -> None:
    """G7."""
    serving = {pod["metadata"]["uid"]: pod for pod in promotion.story.pods_of(promotion.story.stable)}

    assert serving.keys() == promotion.pods.keys()
    assert len(serving) == 2
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in serving.values())


def test_old_pods_stay_through_the_bake(promotion: Promotion) -> None:
    """L20."""
    assert RolloutState.BAKING in promotion.story.states
    assert not promotion.story.pods_of(promotion.former)


def test_the_history_tells_who_served(promotion: Promotion) -> None:
    """L1."""
    history = promotion.story.status["history"]

    assert [entry["checkpointRevision"] for entry in history] == [promotion.commit, COMMIT]
    assert "servedUntil" in history[1]
    assert "servedUntil" not in history[0]


def test_each_turn_is_an_event(promotion: Promotion) -> None:
    """L1."""
    turns = [Reason.ROLLING_OUT, Reason.PREFLIGHT_RUNNING, Reason.HOLDING, Reason.BAKING, Reason.READY]

    told = iter(promotion.events)
    assert all(reason in told for reason in turns), promotion.events


def test_the_weight_that_is_seen_is_told_beside_the_one_that_is_meant(promotion: Promotion) -> None:
    """O7."""
    at_half = [
        status["canary"]["weight"]["observed"]
        for status in promotion.story.statuses
        if (status.get("canary") or {}).get("weight", {}).get("desired") == 50
        and "observed" in status["canary"]["weight"]
    ]

    assert at_half
    assert 30 < at_half[-1] < 70


def test_every_check_has_passed_before_the_promotion(promotion: Promotion) -> None:
    """A1, A13."""
    judged = [
        check
        for status in promotion.story.statuses
        for check in (status.get("rollout") or {}).get("checks", [])
        if status["canary"]["weight"]["desired"] == 50
    ]

    assert judged[-1]["verdict"] == "Pass"
    assert judged[-1]["samples"] >= 20
