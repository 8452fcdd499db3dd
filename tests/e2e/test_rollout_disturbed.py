"""What others do while revisions roll out changes nothing: meddlers, appliers, other models.

Scenes play at the same time, and each test looks at one of them.
"""

import asyncio
from copy import deepcopy
from itertools import pairwise

import pytest

from e2e.fixtures import Staged
from e2e.manifests import Object, fresh_commit, model
from e2e.stage import DEADLINE, OBJECTIVES, Stage, Story
from pilothouse.kinds import HTTP_ROUTE
from pilothouse.names import Reason, RolloutState, Verb

POLICY = {"steps": [{"weight": 50, "hold": "2s"}], "bake": "2s"}
LONG = {"steps": [{"weight": 50, "hold": "1h"}]}
ONE_AT_A_TIME = {**POLICY, "maxConcurrentRollouts": 1}
QUEUED = ("first", "second", "third")

Stories = dict[str, Story]


@pytest.fixture(scope="module")
def stories(staged: Staged) -> Stories:
    """Play all scenes, and tell the stories of all models."""

    async def play() -> Stories:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            await made.policy(f"{made.name}-long", **LONG)
            await made.policy(f"{made.name}-one", **ONE_AT_A_TIME)
            await asyncio.gather(queue(made), meddled(made), reapplied(made), unrouted(made), sibling(made))
            return deepcopy(dict(made.stories))

    return asyncio.run(play())


async def queue(made: Stage) -> None:
    """Three models want to roll out where one may."""
    follows = {"rollout": {"policyName": f"{made.name}-one"}}
    await asyncio.gather(*(made.served(name) for name in QUEUED))
    async with made.called(QUEUED[0]), made.called(QUEUED[1]), made.called(QUEUED[2]):
        await asyncio.gather(*(made.declare(name, model=model(fresh_commit()), **follows) for name in QUEUED))
        # One after the other, and a turn ends when the pods that gave way are gone.
        turns = DEADLINE * len(QUEUED)
        await asyncio.gather(
            *(made.until(name, lambda story: RolloutState.BAKING in story.states, turns) for name in QUEUED)
        )


async def meddled(made: Stage) -> None:
    """Somebody gives the canary all traffic by hand."""
    follows = {"rollout": {"policyName": f"{made.name}-long"}}
    await made.served("meddled")
    await made.declare("meddled", model=model(fresh_commit()), **follows)
    story = await made.at("meddled", RolloutState.HOLDING)
    route = await made.api.get(HTTP_ROUTE.path(made.name, "meddled"))
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            backend["weight"] = 100 if story.canary in backend["name"] else 1
    seen = len(story.routed)
    await made.api.merge(HTTP_ROUTE.path(made.name, "meddled"), {"spec": {"rules": route["spec"]["rules"]}})
    await made.until("meddled", lambda story: len(story.routed) == seen + 2)


async def reapplied(made: Stage) -> None:
    """A GitOps tool applies the same manifest over and over."""
    declared: Object = {
        "model": model(fresh_commit()),
        "rollout": {"policyName": f"{made.name}-long"},
    }
    await made.served("reapplied")
    await made.declare("reapplied", **declared)
    story = await made.at("reapplied", RolloutState.HOLDING)
    for _ in range(3):
        seen = len(story.statuses)
        await made.declare("reapplied", **declared)
        await made.until("reapplied", lambda story, seen=seen: len(story.statuses) > seen)


async def unrouted(made: Stage) -> None:
    """A model without a route changes over at once."""
    await made.served("unrouted", route=None)
    await made.declare("unrouted", route=None, model=model(fresh_commit()))
    await made.until("unrouted", lambda story: RolloutState.DRAINING in story.states)


async def sibling(made: Stage) -> None:
    """What was rolled back in one model is not tried in another."""
    broken = {"env": [{"name": "VLLM_SIM_FAULTS", "value": '{"crash_at_load": true, "load_seconds": 0}'}]}
    commit = fresh_commit()
    await asyncio.gather(made.served("elder"), made.served("younger"))
    image = {"image": "pilothouse.dev/vllm-sim:v0.32.0"}
    await made.declare("elder", model=model(commit), engine=image | broken)
    await made.rolled_back("elder")
    await made.declare("younger", model=model(commit))
    await made.at("younger", RolloutState.WAITING)
    await made.until("younger", lambda story: story.status["rollout"]["reason"] == Reason.SIBLING_FAILED)
    await made.say("younger", Verb.RETRY, story_target(made, "younger"))
    await made.until("younger", lambda story: story.canary)


def story_target(made: Stage, name: str) -> str:
    """The revision that waits, as its message names it."""
    return str(made.stories[name].status["rollout"]["message"].split()[1])


def test_no_more_models_roll_out_at_once_than_the_policy_allows(stories: Stories) -> None:
    """C8."""
    spans = sorted(span(stories[name]) for name in QUEUED)

    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans


def span(story: Story) -> tuple[str, str]:
    """When the rollout began to start pods and when its pods served alone, as RFC 3339 texts."""
    starts = [
        status["rollout"]["startedAt"]
        for status in story.statuses
        if (status.get("rollout") or {}).get("state") == RolloutState.STARTING
    ]
    bakes = [
        status["rollout"]["stepStartedAt"]
        for status in story.statuses
        if (status.get("rollout") or {}).get("state") == RolloutState.BAKING
    ]
    return starts[0], bakes[0]


def test_weights_that_somebody_edits_are_put_back(stories: Stories) -> None:
    """W2."""
    story = stories["meddled"]

    assert story.routed[-1] == {story.stable: 50, story.canary: 50}
    assert story.routed[-2][story.canary] == 100
    assert story.weights == [0, 50]


def test_the_same_manifest_again_changes_nothing(stories: Stories) -> None:
    """W1."""
    story = stories["reapplied"]

    assert story.state == RolloutState.HOLDING
    assert story.weights == [0, 50]
    assert len({status["generation"] for status in story.statuses}) == 2


def test_without_a_route_all_callers_change_over_at_once(stories: Stories) -> None:
    story = stories["unrouted"]

    assert story.weights == [0, 100, 0]


def test_what_failed_in_one_model_waits_for_somebodys_word_in_another(stories: Stories) -> None:
    story = stories["younger"]

    assert story.states[:2] == ["", RolloutState.WAITING]
    assert story.canary
