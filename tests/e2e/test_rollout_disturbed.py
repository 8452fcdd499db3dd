"""What others do while revisions roll out changes nothing: meddlers, appliers, other models.

Scenes play at the same time, and each test looks at one of them.
"""

import asyncio
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import pytest

from e2e.fixtures import Staged
from e2e.installed import Operator
from e2e.manifests import Object, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story
from harness.shell import wait_for
from pilothouse.kinds import HTTP_ROUTE, LEASE
from pilothouse.names import Reason, RolloutState, Verb

POLICY = {"steps": [{"weight": 50, "hold": "2s"}], "bake": "2s"}
LONG = {"steps": [{"weight": 50, "hold": "1h"}]}
ONE_AT_A_TIME = {**POLICY, "maxConcurrentRollouts": 1}
QUEUED = ("first", "second", "third")
REMOVED = ("meddled", "reapplied", "unrouted", "elder", "younger")


@dataclass(frozen=True)
class Seen:
    """The stories of all models, and what callers lost while the leader changed."""

    stories: dict[str, Story]
    lost: list[str]


@pytest.fixture(scope="module")
def seen(staged: Staged, operator: Operator) -> Seen:
    """Play all scenes."""

    async def play() -> Seen:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            await made.policy(f"{made.name}-long", **LONG)
            await made.policy(f"{made.name}-one", **ONE_AT_A_TIME)
            await asyncio.gather(meddled(made), reapplied(made), unrouted(made), sibling(made))
            stories = deepcopy(dict(made.stories))
            # A rollout without room for its pods lets others go first: the queue needs room.
            await asyncio.gather(*(made.remove(name) for name in REMOVED))
            await asyncio.gather(*(made.until(name, lambda story: not story.pods) for name in REMOVED))
            _, lost = await asyncio.gather(queue(made), led(made, operator))
            return Seen({**made.stories, **stories}, lost)

    return asyncio.run(play())


async def queue(made: Stage) -> None:
    """Three models want to roll out where one may."""
    follows = {"rollout": {"policyName": f"{made.name}-one"}}
    await asyncio.gather(*(made.served(name) for name in QUEUED))
    async with made.called(QUEUED[0]), made.called(QUEUED[1]), made.called(QUEUED[2]):
        await asyncio.gather(*(made.declare(name, model=model(fresh_commit()), **follows) for name in QUEUED))
        await asyncio.gather(
            *(made.until(name, lambda story: RolloutState.BAKING in story.states) for name in QUEUED)
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


async def led(made: Stage, operator: Operator) -> list[str]:
    """The leader is killed while a weight is held."""
    await made.served("led")
    async with made.called("led") as calls:
        await made.declare("led", model=model(fresh_commit()))
        await made.at("led", RolloutState.HOLDING)
        await asyncio.to_thread(end_leader, operator)
        await made.until("led", lambda story: RolloutState.BAKING in story.states)
        await made.rested("led")
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


def test_no_more_models_roll_out_at_once_than_the_policy_allows(seen: Seen) -> None:
    """C8."""
    spans = sorted(span(seen.stories[name]) for name in QUEUED)

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


def test_weights_that_somebody_edits_are_put_back(seen: Seen) -> None:
    """W2."""
    story = seen.stories["meddled"]

    assert story.routed[-1] == {story.stable: 50, story.canary: 50}
    assert story.routed[-2][story.canary] == 100
    assert story.weights == [0, 50]


def test_the_same_manifest_again_changes_nothing(seen: Seen) -> None:
    """W1."""
    story = seen.stories["reapplied"]

    assert story.state == RolloutState.HOLDING
    assert story.weights == [0, 50]
    assert len({status["generation"] for status in story.statuses}) == 2


def test_without_a_route_all_callers_change_over_at_once(seen: Seen) -> None:
    story = seen.stories["unrouted"]

    assert story.weights == [0, 100, 0]


def test_what_failed_in_one_model_waits_for_somebodys_word_in_another(seen: Seen) -> None:
    story = seen.stories["younger"]

    assert story.states[:2] == ["", RolloutState.WAITING]
    assert story.canary


def test_a_new_leader_goes_on_where_the_former_stood(seen: Seen) -> None:
    """O2."""
    assert seen.stories["led"].weights == [0, 50, 100, 0]
    assert not seen.lost
