"""A bad revision loses its traffic by what is wrong with it, or gets none, and nobody had to look."""

import asyncio
from copy import deepcopy

import pytest

from e2e.fixtures import Staged
from e2e.manifests import Object, engine, fresh_commit, model
from e2e.stage import OBJECTIVES, Stage, Story
from pilothouse.names import Reason, RolloutState

POLICY = {
    "steps": [{"preflight": {}}, {"weight": 50, "hold": "20s"}],
    "analysis": {
        "interval": "1s",
        "minRequests": 20,
        "warmupRequests": 5,
        "onError": {"after": "15s", "action": "Rollback"},
    },
}
FROM_THE_START: dict[str, Object] = {
    "words": {"other_tokenizer": True},
    "fragile": {"crash_after_requests": 40},
    "misnamed": {"model_name": "another"},
    "unloadable": {"crash_at_load": True, "load_seconds": 0},
    "unmeasured": {"metrics": "missing"},
    "nonsense": {"metrics": "nan"},
}
"""What is wrong with the new revision of each model, by its environment."""

WHILE_SERVING: dict[str, Object] = {
    "storm": {"errors": {"status": 500, "share": 0.5}},
    "slow": {"slower_prefill": {"factor": 400}},
    "deaf": {"unhealthy": True},
    "stuck": {"hang": True},
}
"""What breaks in the new revision of each model when it has half of the traffic."""

EXPECTED = {
    "unmeasured": Reason.METRICS_UNAVAILABLE,
    "nonsense": Reason.METRICS_UNAVAILABLE,
    "slow": Reason.CHECK_FAILED,
    "stuck": Reason.ENGINE_NOT_READY,
    "fragile": Reason.ENGINE_CRASHED,
    "deaf": Reason.ENGINE_NOT_READY,
    "storm": Reason.ERROR_STORM,
    "words": Reason.TOKENIZER_CHANGED,
    "unloadable": Reason.MODEL_LOAD_FAILED,
    "misnamed": Reason.PREFLIGHT_FAILED,
}
"""Why each is rolled back; those that take long come first, so that they do not come last."""
WITHOUT_TRAFFIC = ("words", "misnamed", "unloadable")

LANE = {"objectives": [*OBJECTIVES, {"metric": "TimeToFirstToken", "threshold": "1s", "ratio": 0.8}]}
"""A healthy engine keeps within a second also on a busy machine; the slow one adds two to a first token."""
AT_A_TIME = 5
"""Scenes side by side: as many as two CPU cores bear."""

Scenes = dict[str, Story | BaseException]


@pytest.fixture(scope="module")
def scenes(staged: Staged) -> Scenes:
    """Roll out every bad revision at the same time, each with callers of its own."""

    async def play() -> Scenes:
        room = asyncio.Semaphore(AT_A_TIME)

        async def in_turn(made: Stage, name: str) -> Story:
            async with room:
                await rolled_out(made, name)
            story = deepcopy(await made.rested(name))
            await made.remove(name)
            return story

        async with staged(POLICY, LANE) as made:
            ended = await asyncio.gather(*(in_turn(made, name) for name in EXPECTED), return_exceptions=True)
        return dict(zip(EXPECTED, ended, strict=True))

    return asyncio.run(play())


async def rolled_out(made: Stage, name: str) -> None:
    """Serve a healthy revision, then a bad one with the same tokenizer, until that is rolled back."""
    await made.served(name)
    bad = model(fresh_commit()) | {"tokenizer": model()["tokenizer"]}
    await made.declare(name, engine=engine(**FROM_THE_START.get(name, {})), model=bad)
    if name in WITHOUT_TRAFFIC:
        await made.rolled_back(name)
        return
    story = await made.at(name, RolloutState.HOLDING)
    # Callers come now, so that loads have been alike for as long as anybody looks.
    async with made.called(name, 8):
        if name in WHILE_SERVING:
            await made.until(name, lambda story: story.counted >= 5)
            await made.fault(name, story.canary, **WHILE_SERVING[name])
        await made.rolled_back(name)


@pytest.fixture
def story(scenes: Scenes, name: str) -> Story:
    found = scenes[name]
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.mark.parametrize(("name", "reason"), EXPECTED.items())
def test_a_bad_revision_is_rolled_back_by_what_is_wrong_with_it(story: Story, reason: Reason) -> None:
    """A10, L13, M1, M7."""
    assert story.status["lastRollback"]["reason"] == reason


@pytest.mark.parametrize("name", EXPECTED)
def test_a_revision_that_was_rolled_back_has_no_traffic_no_pods_and_is_rejected(story: Story) -> None:
    """L7, W4."""
    rollback = story.status["lastRollback"]

    assert rollback["toRevision"] == story.stable
    assert story.routed[-1] == {story.stable: 100}
    assert not story.pods_of(rollback["fromRevision"])
    assert story.rejected == {rollback["fromRevision"]}
    assert rollback["finishedAt"]


@pytest.mark.parametrize("name", WITHOUT_TRAFFIC)
def test_what_fails_before_its_first_request_gets_none(story: Story) -> None:
    """G2, M1."""
    assert story.weights == [0]
    assert story.routed == [{story.stable: 100}]


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(WITHOUT_TRAFFIC)))
def test_a_bad_revision_never_gets_more_than_the_step(story: Story) -> None:
    """A1, A2."""
    assert max(story.weights) == 50
