"""Which revision a word of the command line speaks of, and what it says where there is none."""

from datetime import UTC, datetime
from typing import Any

import pytest

from builders import manifest, model_deployment, queue_class
from pilothouse.cli.command import Standing, annotation, command, key_of_model, revision_for
from pilothouse.errors import NothingToDo, Terminal
from pilothouse.names import COMMAND, Verb
from pilothouse.plan.commands import command_of
from pilothouse.plan.revision import hash_of, inputs_of
from unit.cli.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
KEY = key_of_model("team-ide", "qwen-coder")
CANARY = "0c9d8e7f60"
TARGET = hash_of(inputs_of(model_deployment(), queue_class()))
LANE = {
    "kind": "QueueClass",
    "metadata": {"name": "completion"},
    "spec": queue_class().spec.model_dump(mode="json", by_alias=True),
}


def standing(spec: Any = None, target: str | None = None, **status: Any) -> Standing:
    """A ModelDeployment with this status."""
    return Standing(model_deployment(spec, {"stable": {"revision": "7f3a9c1d20"}, **status}), target)


def under_way(state: str, spec: Any = None, **rollout: Any) -> Standing:
    """A canary in this state."""
    return standing(spec, canary={"revision": CANARY}, rollout={"state": state, **rollout})


def waiting(reason: str) -> Standing:
    """A rollout that has not begun."""
    rollout = {"state": "Waiting", "reason": reason, "message": "its turn comes"}
    return standing(target=TARGET, rollout=rollout)


def rejected(**status: Any) -> Standing:
    """The spec asks for what failed before."""
    entry = {"revision": TARGET, "reason": "CheckFailed", "time": "2026-11-24T04:00:00Z"}
    return standing(target=TARGET, rejectedRevisions=[entry], **status)


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ABORT, Verb.PAUSE])
def test_a_word_speaks_of_the_canary(verb: Verb) -> None:
    assert revision_for(verb, under_way("Holding")) == CANARY


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ABORT, Verb.PAUSE, Verb.RESUME])
def test_nothing_is_said_where_no_rollout_is_under_way(verb: Verb) -> None:
    with pytest.raises(NothingToDo, match="no rollout is under way; revision 7f3a9c1d20 serves"):
        revision_for(verb, standing())


@pytest.mark.parametrize("verb", [Verb.ABORT, Verb.PAUSE, Verb.RESUME])
def test_one_that_waits_can_be_spoken_of_by_the_revision_that_the_spec_asks_for(verb: Verb) -> None:
    assert revision_for(verb, waiting("RolloutQueued")) == TARGET


def test_a_promote_before_the_rollout_begins_is_refused_with_what_it_waits_for() -> None:
    with pytest.raises(NothingToDo, match="RolloutQueued: its turn comes"):
        revision_for(Verb.PROMOTE, waiting("RolloutQueued"))


@pytest.mark.parametrize("state", ["Starting", "Preflight"])
def test_a_promote_that_would_be_used_up_is_refused(state: str) -> None:
    with pytest.raises(NothingToDo, match=f"is in {state}, past which no promote goes"):
        revision_for(Verb.PROMOTE, under_way(state))


def test_a_rollout_that_has_ended_is_said_to_have() -> None:
    ended = standing(rollout={"state": "Draining", "reason": "CheckFailed", "message": "success: 5 %"})

    with pytest.raises(NothingToDo, match=r"has ended \(CheckFailed: success: 5 %\)"):
        revision_for(Verb.ABORT, ended)


def test_a_second_pause_is_refused() -> None:
    with pytest.raises(NothingToDo, match="is paused by command already"):
        revision_for(Verb.PAUSE, under_way("Paused", paused=True))


def test_resume_is_for_what_is_paused() -> None:
    assert revision_for(Verb.RESUME, under_way("Paused", reason="RolloutPaused", paused=True)) == CANARY


def test_resume_of_what_goes_on_is_refused() -> None:
    with pytest.raises(NothingToDo, match="is not paused, it is in Holding"):
        revision_for(Verb.RESUME, under_way("Holding"))


def test_resume_where_promote_is_waited_for_is_refused() -> None:
    with pytest.raises(NothingToDo, match="waits for `promote`"):
        revision_for(Verb.RESUME, under_way("Paused", reason="AwaitingPromotion"))


def test_resume_of_what_the_manifest_holds_names_the_field() -> None:
    held = under_way("Paused", {"rollout": {"paused": True}}, reason="RolloutPaused")

    with pytest.raises(NothingToDo, match=r"spec\.rollout\.paused is true"):
        revision_for(Verb.RESUME, held)


def test_retry_is_for_the_rejected_revision_that_the_spec_asks_for() -> None:
    assert revision_for(Verb.RETRY, rejected()) == TARGET


def test_retry_is_for_one_that_is_held_because_its_weights_failed_elsewhere() -> None:
    assert revision_for(Verb.RETRY, waiting("SiblingFailed")) == TARGET


def test_retry_of_one_that_waits_for_its_turn_is_refused() -> None:
    with pytest.raises(NothingToDo, match="was not rejected, it waits"):
        revision_for(Verb.RETRY, waiting("RolloutQueued"))


def test_retry_while_a_canary_runs_is_refused() -> None:
    with pytest.raises(NothingToDo, match="is being tried already, in Holding"):
        revision_for(Verb.RETRY, under_way("Holding"))


def test_retry_where_nothing_was_rejected_is_refused() -> None:
    with pytest.raises(NothingToDo, match=r"was not rejected \(rejected: none\)"):
        revision_for(Verb.RETRY, standing(target="7f3a9c1d20"))


def test_without_its_lane_the_spec_asks_for_no_revision() -> None:
    lost = Standing(waiting("RolloutQueued").deployment, None)

    with pytest.raises(NothingToDo, match="QueueClass completion does not exist"):
        revision_for(Verb.ABORT, lost)


def test_a_note_stands_in_the_annotation() -> None:
    text = annotation(Verb.RETRY, CANARY, "the node is mended", model_deployment(), NOW)

    assert text == f"retry/{CANARY}/the node is mended"


@pytest.mark.parametrize("note", ["", "again"])
def test_the_same_words_again_are_another_command(note: str) -> None:
    said = annotation(Verb.PAUSE, CANARY, note, model_deployment(), NOW)
    again = annotation(Verb.PAUSE, CANARY, note, model_deployment(status={"lastCommand": said}), NOW)

    assert command_of({COMMAND: again}, said)
    assert again.endswith("2026-11-24T05:00:00Z")


def test_a_note_that_the_operator_would_not_read_is_refused() -> None:
    with pytest.raises(NothingToDo, match="longer than 256 characters"):
        annotation(Verb.PAUSE, CANARY, "x" * 300, model_deployment(), NOW)


async def test_a_command_is_written_and_told() -> None:
    status = {"canary": {"revision": CANARY}, "rollout": {"state": "Paused", "step": 3, "steps": 5}}
    cluster = FakeCluster().put({**manifest(), "status": status})

    told = await command(cluster, KEY, Verb.PROMOTE, "", NOW)

    assert cluster.annotations == [(KEY, COMMAND, f"promote/{CANARY}")]
    assert told.startswith(
        f"team-ide/qwen-coder: `promote` is said of revision {CANARY} (Paused, step 3 of 5)"
    )


async def test_a_canary_can_be_aborted_by_one_who_may_not_read_lanes() -> None:
    cluster = FakeCluster(refusals={"QueueClass": Terminal("forbidden")})
    cluster.put({**manifest(), "status": {"canary": {"revision": CANARY}, "rollout": {"state": "Holding"}}})

    assert CANARY in await command(cluster, KEY, Verb.ABORT, "", NOW)


async def test_the_revision_that_the_spec_asks_for_is_found_by_its_lane() -> None:
    entry = {"revision": TARGET, "reason": "CheckFailed", "time": "2026-11-24T04:00:00Z"}
    cluster = FakeCluster().put({**manifest(), "status": {"rejectedRevisions": [entry]}}, LANE)

    assert TARGET in await command(cluster, KEY, Verb.RETRY, "", NOW)


async def test_a_lane_that_can_not_be_read_leads_to_no_revision() -> None:
    cluster = FakeCluster().put(manifest(), {**LANE, "spec": {}})

    with pytest.raises(NothingToDo):
        await command(cluster, KEY, Verb.RETRY, "", NOW)
