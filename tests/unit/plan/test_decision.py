"""The rules of a rollout, one by one, and which of them comes first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import NOW
from pilothouse.api.modeldeploymentstatus import CheckStatus
from pilothouse.names import Reason, RolloutState, Verb
from pilothouse.plan.capacity import Size, Sizing, Strategy
from pilothouse.plan.cause import Cause
from pilothouse.plan.commands import Command
from pilothouse.plan.decision import Situation, decide
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.position import Decision, Position, Promoted, RolledBack
from pilothouse.plan.preflight import PreflightOutcome
from rollout_scene import policy

PASSED = PreflightOutcome((), None, ())
PENDING = PreflightOutcome((), None, ("uid",))
FAILED = PreflightOutcome((), Cause(Reason.PREFLIGHT_FAILED, "no stream"), ())
NO_GPU = Cause(Reason.INSUFFICIENT_GPU, "0/1 nodes are available")
LONG_AGO = NOW - timedelta(hours=1)


def position(step: int, weight: int, state: RolloutState = RolloutState.HOLDING, **fields: Any) -> Position:
    """A place in a rollout of the short policy: 1 is the preflight, 2 is 10 %, 3 is 50 %, 4 the promotion."""
    cause = fields.pop("cause", Cause(Reason.HOLDING, "as planned"))
    times: dict[str, Any] = {"started_at": NOW, "step_started_at": NOW, **fields}
    return Position(state, step, weight, cause, **times)


def situation(**changes: Any) -> Situation:
    """A rollout at 10 %, held long enough, about which there is nothing to say."""
    usual = {
        "now": NOW,
        "policy": policy(),
        "stable": "a",
        "canary": "b",
        "target": "b",
        "routed": True,
        "held": False,
        "command": None,
        "position": position(2, 10, held_since=LONG_AGO),
        "denial": None,
        "failure": None,
        "preflight": PASSED,
        "checks": (),
        "sizing": Sizing(Strategy.SURGE, 2),
        "gpus": Gpus(4),
        "ready": Size(canary=1, stable=2),
        "lack": None,
        "route": None,
        "stable_down_since": None,
    }
    return Situation(**{**usual, **changes})


def check(verdict: str, message: str = "") -> tuple[CheckStatus, ...]:
    """One check that says so."""
    return (CheckStatus(name="success", verdict=verdict, message=message),)


def says(verb: Verb) -> Command:
    """A command about the canary."""
    return Command(verb, "b", f"{verb}/b")


def moved(decision: Decision) -> Position:
    """The decision as a position, which it is."""
    assert isinstance(decision, Position)
    return decision


def ended(decision: Decision) -> RolledBack:
    """The decision as a rollback, which it is."""
    assert isinstance(decision, RolledBack)
    return decision


TAKES_TRAFFIC_AWAY: dict[str, tuple[dict[str, Any], Reason, bool]] = {
    "abort": ({"command": says(Verb.ABORT)}, Reason.ABORTED, True),
    "denied": ({"denial": Cause(Reason.LICENSE_DENIED, "no")}, Reason.LICENSE_DENIED, False),
    "superseded": ({"target": "c"}, Reason.WITHDRAWN, False),
    "hard": ({"failure": Cause(Reason.ERROR_STORM, "503")}, Reason.ERROR_STORM, True),
    "preflight": ({"preflight": FAILED}, Reason.PREFLIGHT_FAILED, True),
    "check": ({"checks": check("Fail")}, Reason.CHECK_FAILED, True),
}
PLACES = {
    "starting": position(0, 0, RolloutState.STARTING),
    "preflight": position(1, 0, RolloutState.PREFLIGHT),
    "shifting": position(3, 10, RolloutState.SHIFTING),
    "holding": position(2, 10, held_since=LONG_AGO),
    "paused": position(2, 10, RolloutState.PAUSED, paused=True, held_since=LONG_AGO),
    "promotion": position(4, 50, RolloutState.SHIFTING),
    "baking": position(4, 100, RolloutState.BAKING, held_since=NOW),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("why", TAKES_TRAFFIC_AWAY)
@pytest.mark.parametrize("held", [False, True])
def test_what_takes_traffic_away_does_so_in_every_state(why: str, place: str, *, held: bool) -> None:
    changes, reason, rejected = TAKES_TRAFFIC_AWAY[why]

    end = ended(decide(situation(position=PLACES[place], held=held, **changes)))
    assert (end.cause.reason, end.rejected) == (reason, rejected)


def test_an_abort_beats_everything() -> None:
    """L5."""
    all_at_once: dict[str, Any] = {}
    for changes, _, _ in TAKES_TRAFFIC_AWAY.values():
        all_at_once |= changes
    end = ended(decide(situation(**all_at_once)))

    assert end.cause.reason is Reason.ABORTED


@pytest.mark.parametrize("verdict", ["Inconclusive", "Error"])
@pytest.mark.parametrize("place", ["shifting", "holding", "promotion"])
def test_no_weight_rises_while_a_check_is_undecided(verdict: str, place: str) -> None:
    asked = situation(position=PLACES[place], checks=check(verdict), ready=Size(canary=2, stable=2))

    assert moved(decide(asked)).weight == PLACES[place].weight


@pytest.mark.parametrize("weight", [0, 10, 50])
def test_no_weight_rises_while_a_pod_is_untested(weight: int) -> None:
    """Nor does it come back from nothing, where the pods that were tested are gone."""
    asked = situation(
        position=position(4, weight, RolloutState.SHIFTING), ready=Size(2, 2), preflight=PENDING
    )

    after = moved(decide(asked))
    assert (after.weight, after.cause.reason) == (weight, Reason.PREFLIGHT_RUNNING)
    assert moved(decide(replace(asked, preflight=PASSED))).weight == 100


@pytest.mark.parametrize("tested", [PENDING, PASSED])
def test_the_preflight_is_told_though_its_tests_ended_before_its_turn(tested: PreflightOutcome) -> None:
    """A pod is tested as soon as it is ready, its Service may name it later."""
    after = moved(decide(situation(position=PLACES["starting"], preflight=tested)))

    assert (after.step, after.state, after.weight) == (1, RolloutState.PREFLIGHT, 0)
    assert after.cause.reason is Reason.PREFLIGHT_RUNNING


def test_a_step_passes_when_its_time_is_over_and_its_checks_have_passed() -> None:
    after = moved(decide(situation(checks=check("Pass"))))

    assert (after.step, after.state, after.held_since) == (3, RolloutState.SHIFTING, None)


def test_a_step_lasts_its_time_though_its_checks_have_passed() -> None:
    early = position(2, 10, held_since=NOW - timedelta(seconds=9))

    assert moved(decide(situation(position=early, checks=check("Pass")))).step == 2


def test_a_check_that_is_put_off_may_wait_until_the_last_step() -> None:
    assert moved(decide(situation(checks=check("Deferred")))).step == 3


def test_nothing_is_promoted_that_was_never_compared() -> None:
    last = position(3, 50, held_since=LONG_AGO)
    asked = situation(position=last, checks=check("Deferred"), ready=Size(canary=2, stable=2))

    after = moved(decide(asked))
    assert (after.step, after.cause.reason) == (3, Reason.CHECK_INCONCLUSIVE)
    compared = replace(asked, position=replace(last, compared=True))
    assert moved(decide(compared)).step == 4


def test_a_weight_never_exceeds_what_the_ready_pods_can_carry() -> None:
    asked = situation(position=PLACES["shifting"], ready=Size(canary=1, stable=2))

    assert moved(decide(asked)).weight == 33


def test_a_weight_falls_with_the_pods_even_while_it_is_paused() -> None:
    paused = position(3, 50, RolloutState.PAUSED, paused=True, held_since=LONG_AGO)

    assert moved(decide(situation(position=paused, ready=Size(canary=1, stable=2)))).weight == 33


def test_the_promotion_waits_for_the_bake_to_be_over() -> None:
    baking = situation(position=PLACES["baking"], ready=Size(canary=2, stable=2))

    assert moved(decide(baking)).state is RolloutState.BAKING
    assert isinstance(decide(replace(baking, now=NOW + timedelta(seconds=10))), Promoted)


def test_a_promotion_by_hand_ends_the_bake_but_no_shift_of_traffic() -> None:
    baking = situation(position=PLACES["baking"], ready=Size(canary=2, stable=2), command=says(Verb.PROMOTE))
    paused = position(4, 50, RolloutState.PAUSED, paused=True)
    shifting = replace(baking, position=paused, ready=Size(canary=1, stable=2))

    assert isinstance(decide(baking), Promoted)
    assert moved(decide(shifting)).weight < 100


def test_a_promotion_by_hand_lets_a_shift_of_traffic_go_on_to_its_step() -> None:
    stuck = situation(
        position=PLACES["shifting"], checks=check("Inconclusive"), ready=Size(canary=2, stable=2)
    )
    assert moved(decide(stuck)).weight == 10

    after = moved(decide(replace(stuck, command=says(Verb.PROMOTE))))
    assert (after.step, after.weight) == (3, 50)


@pytest.mark.parametrize("place", ["starting", "preflight"])
def test_a_promotion_by_hand_skips_no_test(place: str) -> None:
    asked = situation(position=PLACES[place], preflight=PENDING, command=says(Verb.PROMOTE))

    assert moved(decide(asked)).weight == 0


def test_pods_that_come_too_late_end_the_rollout() -> None:
    late = position(0, 0, RolloutState.STARTING, step_started_at=NOW - timedelta(seconds=61))
    asked = situation(position=late, ready=Size(canary=0, stable=2))

    assert ended(decide(asked)).cause.reason is Reason.STARTUP_DEADLINE_EXCEEDED


def test_a_lack_of_room_is_no_fault_of_the_revision() -> None:
    """C2."""
    late = position(0, 0, RolloutState.STARTING, step_started_at=LONG_AGO)
    after = moved(decide(situation(position=late, ready=Size(canary=0, stable=2), lack=NO_GPU)))

    assert (after.cause, after.step_started_at) == (NO_GPU, NOW)


def test_a_rollback_waits_where_stable_has_no_pod_and_the_canary_has() -> None:
    """L19."""
    asked = situation(command=says(Verb.ABORT), ready=Size(canary=1, stable=0))
    after = moved(decide(asked))

    assert after.cause.reason is Reason.ABORTED
    assert "no ready pod to go back to" in after.cause.message
    assert isinstance(decide(replace(asked, ready=Size(canary=0, stable=0))), RolledBack)


def test_a_tested_canary_takes_over_from_a_stable_that_is_gone() -> None:
    """L10."""
    gone = situation(ready=Size(canary=1, stable=0), stable_down_since=LONG_AGO)

    assert moved(decide(gone)).weight == 100
    assert moved(decide(replace(gone, preflight=PENDING, position=PLACES["preflight"]))).weight == 0
    just_now = replace(gone, stable_down_since=NOW - timedelta(seconds=29))
    assert moved(decide(just_now)).step < 4


@pytest.mark.parametrize(
    ("action", "state"), [("Hold", RolloutState.HOLDING), ("Pause", RolloutState.PAUSED), ("Rollback", None)]
)
@pytest.mark.parametrize(("verdict", "field"), [("Error", "onError"), ("Inconclusive", "onInconclusive")])
def test_what_stays_undecided_ends_as_the_policy_says(
    action: str, state: RolloutState | None, verdict: str, field: str
) -> None:
    """A5."""
    patient = policy(analysis={field: {"after": "5m", "action": action}})
    since = NOW - timedelta(minutes=5)
    stuck = position(2, 10, held_since=LONG_AGO, stuck_since=since, blind_since=since)
    decision = decide(situation(policy=patient, position=stuck, checks=check(verdict)))

    if state is None:
        assert ended(decision).rejected
    else:
        assert moved(decision).state is state


def test_a_spec_that_cannot_be_carried_out_moves_nothing() -> None:
    asked = situation(target=None, checks=check("Pass"))

    assert moved(decide(asked)) == replace(asked.position, capacity="Surge")


def test_a_gateway_that_does_not_follow_stops_the_clock_of_the_step() -> None:
    silent = Cause(Reason.ROUTE_PENDING, "the gateway has not answered")
    after = moved(decide(situation(route=silent)))

    assert (after.cause, after.held_since) == (silent, None)


def test_without_a_route_no_weight_is_asked_for_before_the_promotion() -> None:
    asked = situation(routed=False, position=position(0, 0, RolloutState.STARTING), ready=Size(2, 2))
    seen = []
    for _ in range(8):
        after = decide(asked)
        if isinstance(after, Promoted):
            break
        seen.append(moved(after).weight)
        asked = replace(asked, position=moved(after), now=asked.now + timedelta(seconds=11))

    assert set(seen) == {0, 100}


def test_an_evaluation_waits_for_a_person() -> None:
    steps = [{"weight": 10, "hold": "5s"}, {"evaluate": {"suiteName": "humaneval"}}]
    gate = position(2, 10, RolloutState.SHIFTING)
    after = moved(decide(situation(policy=policy(steps=steps), position=gate)))

    assert (after.state, after.cause.reason) == (RolloutState.EVALUATING, Reason.EVALUATION_NOT_SUPPORTED)


def test_blindness_has_a_patience_of_its_own() -> None:
    """A4: what could not be decided for long says nothing of measurements that have just failed."""
    patient = policy(analysis={"onError": {"after": "5m", "action": "Rollback"}})
    stuck = position(2, 10, held_since=LONG_AGO, stuck_since=NOW - timedelta(minutes=5))

    decision = decide(situation(policy=patient, position=stuck, checks=check("Error")))

    assert isinstance(decision, Position)
    assert decision.blind_since == NOW


def test_a_step_is_held_only_once_the_route_has_its_weight() -> None:
    """The gateway's answer to the route of the last step says nothing of this one."""
    decision = decide(situation(position=position(2, 0)))

    assert isinstance(decision, Position)
    assert (decision.state, decision.weight, decision.held_since) == (RolloutState.SHIFTING, 10, None)
