"""People change their minds while a revision rolls out: edits and commands at any moment end as they say.

All scenes play at the same time, and each test looks at one of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy

import pytest

from e2e.fixtures import Staged
from e2e.manifests import Object, engine, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story
from pilothouse.names import Reason, RolloutState, Verb

POLICY = {"steps": [{"weight": 50, "hold": "2s"}], "bake": "2s"}
LONG = {"steps": [{"weight": 50, "hold": "1h"}]}
GATED = {"steps": [{"weight": 50, "hold": "1s"}, {"pause": {}}], "bake": "1h"}
BROKEN = engine(crash_at_load=True, load_seconds=0)

Scene = Callable[[Stage, str], Awaitable[object]]
SCENES: dict[str, Scene] = {}


def scene(play: Scene) -> Scene:
    """Have this played with a model of its own."""
    SCENES[play.__name__] = play
    return play


def following(made: Stage, policy: str) -> Object:
    """The part of a spec that names one of the stage's other policies."""
    return {"rollout": {"policyName": f"{made.name}-{policy}"}}


async def begun(made: Stage, name: str, state: RolloutState, policy: str = "long") -> Story:
    """Serve a revision, then let another one roll out until it is in a state."""
    await made.served(name)
    await made.declare(name, model=model(fresh_commit()), **following(made, policy))
    return await made.at(name, state)


@scene
async def back(made: Stage, name: str) -> None:
    """The spec returns to what serves, midway."""
    await begun(made, name, RolloutState.HOLDING)
    await made.declare(name)
    await made.rested(name)


@scene
async def third(made: Stage, name: str) -> tuple[str, str]:
    """The spec asks for a third revision, midway."""
    story = await begun(made, name, RolloutState.HOLDING)
    first, second = story.stable, story.canary
    await made.declare(name, model=model(fresh_commit()))
    async with made.called(name):
        await made.until(name, lambda story: story.canary and story.canary != second)
        await made.until(name, lambda story: story.stable != first)
        await made.rested(name)
    return first, second


@scene
async def mended(made: Stage, name: str) -> None:
    """Two bad revisions, then a good one."""
    await made.served(name)
    async with made.called(name):
        for number in range(2):
            await made.declare(name, engine=BROKEN, model=model(fresh_commit()))
            await made.until(name, lambda story, n=number: len(story.rejected) == n + 1)
        await made.declare(name, model=model(fresh_commit()))
        await made.until(name, lambda story: RolloutState.BAKING in story.states)
        await made.rested(name)


@scene
async def aborted(made: Stage, name: str) -> tuple[str, str]:
    """A person aborts, another applies the same manifest again, and a third says retry."""
    commit = fresh_commit()
    await made.served(name)
    await made.declare(name, model=model(commit), **following(made, "long"))
    story = await made.at(name, RolloutState.HOLDING)
    stable, canary = story.stable, story.canary
    await made.say(name, Verb.ABORT, canary)
    await made.rolled_back(name)
    await made.rested(name)
    untried = len(story.statuses)
    await made.declare(name, model=model(commit), replicas=2, **following(made, "long"))
    await made.until(name, lambda story: story.status.get("readyReplicas") == 2)
    assert not any(status.get("canary") for status in story.statuses[untried:])
    await made.say(name, Verb.RETRY, canary)
    await made.at(name, RolloutState.HOLDING)
    return stable, canary


@scene
async def paused(made: Stage, name: str) -> None:
    """A person pauses, and goes on."""
    story = await begun(made, name, RolloutState.HOLDING)
    await made.say(name, Verb.PAUSE, story.canary)
    await made.at(name, RolloutState.PAUSED)
    await made.say(name, Verb.RESUME, story.canary)
    await made.at(name, RolloutState.HOLDING)


@scene
async def broken_while_paused(made: Stage, name: str) -> None:
    """What breaks while a rollout is paused is rolled back all the same."""
    story = await begun(made, name, RolloutState.HOLDING)
    await made.say(name, Verb.PAUSE, story.canary)
    await made.at(name, RolloutState.PAUSED)
    await made.fault(name, story.canary, unhealthy=True)
    await made.rolled_back(name)


@scene
async def promoted(made: Stage, name: str) -> None:
    """A pause step waits for somebody's word, and so may the bake."""
    await made.served(name)
    await made.declare(name, model=model(fresh_commit()), **following(made, "gated"))
    async with made.called(name):
        story = await made.at(name, RolloutState.PAUSED)
        assert story.status["rollout"]["reason"] == Reason.AWAITING_PROMOTION
        await made.say(name, Verb.PROMOTE, story.canary, "it is good")
        await made.at(name, RolloutState.BAKING)
    await made.say(name, Verb.PROMOTE, story.canary, "it is very good")
    await made.rested(name)


@scene
async def stale(made: Stage, name: str) -> None:
    """A command about another revision, and one with nothing in progress."""
    story = await made.served(name)
    before = story.stable
    await made.say(name, Verb.ABORT, before)
    await made.declare(name, model=model(fresh_commit()), **following(made, "long"))
    await made.at(name, RolloutState.HOLDING)
    await made.say(name, Verb.ABORT, before, "said again")
    seen = len(story.statuses)
    await made.until(name, lambda story: len(story.statuses) > seen + 2)


@pytest.fixture(scope="module")
def played(staged: Staged) -> dict[str, tuple[Story, object] | BaseException]:
    """Play every scene; what is kept is how its model's story went."""

    async def play(made: Stage, scene: str) -> tuple[Story, object]:
        name = scene.replace("_", "-")
        found = await SCENES[scene](made, name)
        story = deepcopy(made.stories[name])
        await made.remove(name)
        return story, found

    async def play_all() -> list[tuple[Story, object] | BaseException]:
        async with staged(POLICY, {"objectives": OBJECTIVES}) as made:
            await made.policy(f"{made.name}-long", **LONG)
            await made.policy(f"{made.name}-gated", **GATED)
            return await asyncio.gather(*(play(made, name) for name in SCENES), return_exceptions=True)

    return dict(zip(SCENES, asyncio.run(play_all()), strict=True))


@pytest.fixture
def seen(played: dict[str, tuple[Story, object] | BaseException], request: pytest.FixtureRequest) -> object:
    """The story of the scene that the test's mark names, and what the scene returned."""
    found = played[request.param.__name__]
    if isinstance(found, BaseException):
        raise found
    return found


def about(play: Scene) -> pytest.MarkDecorator:
    """Let a test look at one scene."""
    return pytest.mark.parametrize("seen", [play], indirect=True, ids=[play.__name__])


@about(back)
def test_a_spec_that_returns_to_what_serves_ends_the_rollout(seen: tuple[Story, None]) -> None:
    """L2."""
    story, _ = seen

    assert story.weights == [0, 50, 0]
    assert story.routed[-1] == {story.stable: 100}
    assert story.status["lastRollback"]["reason"] == Reason.WITHDRAWN
    assert not story.rejected
    assert story.status["phase"] == "Ready"


@about(third)
def test_a_third_revision_begins_anew_and_the_second_gets_nothing_more(
    seen: tuple[Story, tuple[str, str]],
) -> None:
    """L1."""
    story, (first, second) = seen

    assert story.weights == [0, 50, 0, 50, 100, 0]
    assert story.routed[:3] == [{first: 100}, {first: 50, second: 50}, {first: 100}]
    assert story.status["lastRollback"]["toRevision"] == first
    assert not story.rejected


@about(mended)
def test_after_two_bad_revisions_a_good_one_serves(seen: tuple[Story, None]) -> None:
    """L11."""
    story, _ = seen

    assert story.status["phase"] == "Ready"
    assert len(story.rejected) == 2
    assert story.stable not in story.rejected


@about(aborted)
def test_what_was_aborted_is_not_tried_again_until_somebody_says_retry(
    seen: tuple[Story, tuple[str, str]],
) -> None:
    """L7, L8."""
    story, (stable, canary) = seen

    assert story.status["lastRollback"]["reason"] == Reason.ABORTED
    assert (story.stable, story.canary) == (stable, canary)
    assert not story.rejected


@about(paused)
def test_a_paused_rollout_keeps_its_weight_and_goes_on_when_told_to(seen: tuple[Story, None]) -> None:
    """A10."""
    story, _ = seen

    assert story.weights == [0, 50]


@about(broken_while_paused)
def test_detectors_go_on_while_a_rollout_is_paused(seen: tuple[Story, None]) -> None:
    """A10."""
    story, _ = seen

    assert story.status["lastRollback"]["reason"] == Reason.ENGINE_NOT_READY
    assert story.weights == [0, 50, 0]


@about(promoted)
def test_a_pause_step_and_the_bake_end_by_promote(seen: tuple[Story, None]) -> None:
    story, _ = seen

    assert story.status["history"][0]["revision"] == story.stable
    assert story.weights == [0, 50, 100, 0]
    assert story.status["phase"] == "Ready"


@about(stale)
def test_a_command_about_another_revision_does_nothing(seen: tuple[Story, None]) -> None:
    """L4."""
    story, _ = seen

    assert story.state == RolloutState.HOLDING
    assert story.weights == [0, 50]
    assert "lastRollback" not in story.status
