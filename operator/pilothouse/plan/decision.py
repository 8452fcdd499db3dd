"""What happens next to a canary: an ordered list of rules, the first hit wins.

What takes traffic away stands before what waits, and that before what goes on. So every state leaves on an
abort, on another spec and on a failure, and a weight rises only where nothing speaks against it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pilothouse.api.modeldeploymentstatus import CheckStatus
from pilothouse.api.rolloutpolicy import Action, RolloutPolicySpec, Step
from pilothouse.names import Reason, RolloutState, Verb, Verdict
from pilothouse.plan.capacity import COMPARABLE_WEIGHT, NO_ROOM, Size, Sizing, Strategy
from pilothouse.plan.cause import Cause
from pilothouse.plan.commands import Command
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.position import Decision, Position, Promoted, RolledBack
from pilothouse.plan.preflight import PreflightOutcome
from pilothouse.plan.steps import FULL, capacity_at, comes_promotion, promotion, weight_at

_STABLE_IS_GONE: Final = timedelta(seconds=30)
"""After how long without a ready pod stable counts as broken rather than as restarting."""

_SETTLED: Final = frozenset({Verdict.PASS, Verdict.DEFERRED})
_UNDECIDED: Final = frozenset({Reason.CHECK_INCONCLUSIVE, Reason.METRICS_UNAVAILABLE})
_SKIPPABLE: Final = frozenset(
    {RolloutState.PAUSED, RolloutState.HOLDING, RolloutState.EVALUATING, RolloutState.BAKING}
)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision about a canary reads.

    `target` is what the spec asks for, None where that can't be carried out. `routed` says whether traffic
    can be weighed at all. `command` is one that speaks of this canary. `gpus` are those that the whole way
    needs. `lack` is what keeps its pods from
    being ready, `route` what keeps the gateways from following. `stable_down_since` is set while stable has
    no ready pod.
    """

    now: datetime
    policy: RolloutPolicySpec
    stable: str
    canary: str
    target: str | None
    routed: bool
    held: bool
    command: Command | None
    position: Position
    denial: Cause | None
    failure: Cause | None
    preflight: PreflightOutcome
    checks: tuple[CheckStatus, ...]
    sizing: Sizing
    gpus: Gpus
    ready: Size
    lack: Cause | None
    route: Cause | None
    stable_down_since: datetime | None

    @property
    def goal(self) -> int:
        """Weight that the current step asks for, as far as whole pods can carry it."""
        wanted = weight_at(self.policy.steps, self.position.step) if self.routed or self.is_promotion else 0
        return self.sizing.attainable(wanted)

    @property
    def is_promotion(self) -> bool:
        """Whether all steps of the policy have passed."""
        return self.position.step >= promotion(self.policy.steps)

    @property
    def step(self) -> Step | None:
        """The policy's current step; None before the first and after the last."""
        number = self.position.step
        return self.policy.steps[number - 1] if 0 < number < promotion(self.policy.steps) else None

    @property
    def cap(self) -> int:
        """Most weight that the canary's ready pods allow."""
        return self.sizing.weight_cap(self.ready)

    @property
    def undecided(self) -> tuple[CheckStatus, ...]:
        """Checks for which the weight may not rise; a person's word counts until the step's is reached."""
        if self.position.waived and self.position.held_since is None:
            return ()
        return tuple(check for check in self.checks if check.verdict not in _SETTLED)


def decide(situation: Situation) -> Decision:
    """Return the canary's next position, or how its rollout ends."""
    obedient = replace(situation, position=_obeyed(situation))
    decision = next(found for rule in _RULES if (found := rule(obedient)))
    if isinstance(decision, RolledBack) and _has_nowhere_to_go(obedient):
        message = (
            f"{decision.cause.message}; stable revision {obedient.stable} has no ready pod to go back to"
        )
        return _stay(obedient, obedient.position.state, Cause(decision.cause.reason, message))
    return decision


def _obeyed(s: Situation) -> Position:
    """Return the position as the commands pause, resume and promote leave it."""
    verb = s.command.verb if s.command else None
    if verb is Verb.PAUSE:
        return replace(s.position, paused=True)
    if verb in {Verb.RESUME, Verb.PROMOTE}:
        waived = s.position.waived or (verb is Verb.PROMOTE and s.position.state is RolloutState.SHIFTING)
        return replace(s.position, paused=False, waived=waived, stuck_since=None, blind_since=None)
    return s.position


def _has_nowhere_to_go(s: Situation) -> bool:
    return s.position.weight > 0 and s.ready.stable == 0 and s.ready.canary > 0


def _aborted(s: Situation) -> Decision | None:
    if not s.command or s.command.verb is not Verb.ABORT:
        return None
    return RolledBack(Cause(Reason.ABORTED, f"revision {s.canary} was aborted by command"), rejected=True)


def _denied(s: Situation) -> Decision | None:
    return RolledBack(s.denial, rejected=False) if s.denial else None


def _superseded(s: Situation) -> Decision | None:
    if s.target is None or s.target == s.canary:
        return None
    return RolledBack(Cause(Reason.WITHDRAWN, f"the spec asks for revision {s.target} now"), rejected=False)


def _failed_hard(s: Situation) -> Decision | None:
    failure = s.failure or s.preflight.failure
    return RolledBack(failure, rejected=True) if failure else None


def _failed_check(s: Situation) -> Decision | None:
    failed = next((check for check in s.checks if check.verdict == Verdict.FAIL), None)
    if not failed:
        return None
    return RolledBack(Cause(Reason.CHECK_FAILED, said_of(failed)), rejected=True, check=failed)


def _too_late(s: Situation) -> Decision | None:
    """End a start that takes too long; a lack of room is no fault of the revision and stops the clock."""
    lacks_room = s.lack is not None and s.lack.reason in NO_ROOM
    waits = s.position.held_since is None and not _is_large_enough(s) and s.sizing.replicas
    if not waits or lacks_room or s.now - s.position.step_started_at <= _deadline(s):
        return None
    why = f": {s.lack.reason}: {s.lack.message}" if s.lack else ""
    lacked = f"the pods of revision {s.canary} were not ready and named by their Service"
    message = f"{lacked} within {_deadline(s)}{why}"
    return RolledBack(Cause(Reason.STARTUP_DEADLINE_EXCEEDED, message), rejected=True)


def _refused(s: Situation) -> Decision | None:
    """Stay where it is while the spec can't be carried out."""
    return _stay(s, s.position.state, s.position.cause) if s.target is None else None


def _stable_is_gone(s: Situation) -> Decision | None:
    """Give a tested canary everything where nothing else serves: a broken stable must not block its mend."""
    down = s.stable_down_since
    tested = not s.preflight.pending and s.position.step > 0
    if down is None or s.now - down < _STABLE_IS_GONE or not s.ready.canary or not tested or s.is_promotion:
        return None
    cause = Cause(Reason.SHIFTING, f"stable revision {s.stable} has had no ready pod for {_STABLE_IS_GONE}")
    moved = replace(s.position, weight=FULL)
    return _entered(replace(s, position=moved), promotion(s.policy.steps), cause)


def _promoted_by_hand(s: Situation) -> Decision | None:
    if not s.command or s.command.verb is not Verb.PROMOTE or s.position.state not in _SKIPPABLE:
        return None
    if s.position.step == 0 or (s.step and s.step.preflight):
        return None
    if s.is_promotion:
        return Promoted() if s.position.weight == FULL else None
    compared = replace(s, position=replace(s.position, compared=True))
    return replace(_next_step(compared), waived=True)


def _paused(s: Situation) -> Decision | None:
    if not s.held and not s.position.paused:
        return None
    message = "spec.rollout.paused is true" if s.held else "paused by command; `resume` goes on"
    undecided = s.position.paused and s.position.cause.reason in _UNDECIDED
    cause = s.position.cause if undecided else Cause(Reason.ROLLOUT_PAUSED, message)
    stays = _stay(s, RolloutState.PAUSED, cause)
    # What is on its way when a pause ends has the whole deadline before it.
    return stays if s.position.held_since else replace(stays, step_started_at=s.now)


def _starting(s: Situation) -> Decision | None:
    if s.position.step:
        return None
    if not _is_large_enough(s):
        return _await_capacity(s, RolloutState.STARTING)
    return _preflight_begins(s) if s.policy.steps[0].preflight else _next_step(s)


def _testing(s: Situation) -> Decision | None:
    if not s.step or s.step.preflight is None:
        return None
    if not s.preflight.pending and s.ready.canary:
        return _next_step(s)
    return _stay(s, RolloutState.PREFLIGHT, _being_tested(s, "any request"))


def _gated(s: Situation) -> Decision | None:
    if not s.step or s.step.weight or s.step.preflight:
        return None
    promote = f"`promote/{s.canary}`"
    if s.step.evaluate:
        message = f"EvaluationSuite {s.step.evaluate.suite_name} is not run by this release; say {promote}"
        return _stay(s, RolloutState.EVALUATING, Cause(Reason.EVALUATION_NOT_SUPPORTED, message))
    message = f"the step waits for the command {promote}"
    return _stay(s, RolloutState.PAUSED, Cause(Reason.AWAITING_PROMOTION, message))


def _shifting(s: Situation) -> Decision | None:
    weight = _allowed_weight(s)
    if weight < s.goal:
        return _await_capacity(s, RolloutState.SHIFTING)
    if s.position.weight != s.goal:
        # Only the next look can tell whether the gateways follow a route that has this weight.
        return _move(s, RolloutState.SHIFTING, Cause(Reason.SHIFTING, f"the route goes to {s.goal} %"))
    return replace(_move(s, RolloutState.SHIFTING, s.route), step_started_at=s.now) if s.route else None


def _holding(s: Situation) -> Decision | None:
    if s.is_promotion:
        return None
    held_since = s.position.held_since or s.now
    hold = timedelta(seconds=s.step.hold.seconds) if s.step and s.step.hold and s.routed else timedelta()
    if s.now - held_since < hold or s.position.held_since is None:
        message = f"{s.goal} % for {s.step.hold if s.step else hold}"
        return _move(s, RolloutState.HOLDING, Cause(Reason.HOLDING, message), held_since)
    open_checks = _open_checks(s)
    if open_checks:
        return _stuck(s, open_checks)
    deferred = any(check.verdict == Verdict.DEFERRED for check in s.checks)
    return _next_step(replace(s, position=replace(s.position, compared=s.position.compared or not deferred)))


def _baking(s: Situation) -> Decision | None:
    held_since = s.position.held_since or s.now
    if s.now - held_since >= timedelta(seconds=s.policy.bake.seconds):
        return Promoted()
    message = f"all traffic goes to revision {s.canary}; the old pods stay for {s.policy.bake}"
    return _move(s, RolloutState.BAKING, Cause(Reason.BAKING, message), held_since)


_RULES: Final[tuple[Callable[[Situation], Decision | None], ...]] = (
    _aborted,
    _denied,
    _superseded,
    _failed_hard,
    _failed_check,
    _too_late,
    _refused,
    _stable_is_gone,
    _promoted_by_hand,
    _paused,
    _starting,
    _testing,
    _gated,
    _shifting,
    _holding,
    _baking,
)


def said_of(check: CheckStatus) -> str:
    """Say a check's measurement in a sentence."""
    shares = {"canary": check.canary, "stable": check.stable, "threshold": check.threshold}
    known = ", ".join(f"{name} {share:.2%}" for name, share in shares.items() if share is not None)
    return f"{check.name}: {known}, {check.samples} samples"


def capacity_of(s: Situation) -> int:
    """Weight for which the current step needs pods; without a route that is all of it, at once."""
    return capacity_at(s.policy.steps, s.position.step) if s.routed else FULL


def _is_large_enough(s: Situation) -> bool:
    """Say whether the step has its pods; in place the first is enough to begin, others follow the weight."""
    if s.sizing.strategy is Strategy.IN_PLACE and s.position.step == 0:
        return s.ready.canary > 0
    return s.sizing.reached(capacity_of(s), s.ready)


def _allowed_weight(s: Situation) -> int:
    """Weight that may be asked for now: down at once, up only while nothing speaks against it."""
    allowed, now = min(s.goal, s.cap), s.position.weight
    if allowed <= now:
        return allowed
    return now if s.preflight.pending or (now and s.undecided) else allowed


def _stay(s: Situation, state: RolloutState, cause: Cause) -> Position:
    """Remain in the step; lost pods lower the weight, nothing raises it."""
    weight = min(s.position.weight, s.cap)
    return replace(s.position, state=state, cause=cause, weight=weight, capacity=s.sizing.strategy)


def _move(s: Situation, state: RolloutState, cause: Cause, held_since: datetime | None = None) -> Position:
    """Take the weight that is allowed on the way to the step's."""
    stays = _stay(s, state, cause)
    weight = _allowed_weight(s)
    return replace(stays, weight=weight, held_since=held_since, stuck_since=None, blind_since=None)


def _deadline(s: Situation) -> timedelta:
    """How long the pods of a step may take; in place they come one after the other."""
    waves = s.sizing.replicas if s.sizing.strategy is Strategy.IN_PLACE else 1
    return timedelta(seconds=s.policy.startup_deadline.seconds) * waves


def _await_capacity(s: Situation, state: RolloutState) -> Decision:
    """Wait for pods, or for the checks without which the weight does not rise."""
    if s.lack and s.lack.reason in NO_ROOM:
        return replace(_move(s, state, s.lack), step_started_at=s.now)
    if s.undecided and s.cap > s.position.weight > 0:
        return _stuck(s, s.undecided)
    if s.preflight.pending and s.cap > s.position.weight:
        return _move(s, state, _being_tested(s, "the weight rises"))
    reason = Reason.SHIFTING if s.position.step else Reason.ROLLING_OUT
    able = f"{s.ready.canary} canary and {s.ready.stable} stable pods can be called"
    message = f"{able} on the way to {capacity_of(s)} %"
    moved = _move(s, state, Cause(reason, message))
    # A pod that is lost while a step is held has the whole deadline to come back.
    return replace(moved, step_started_at=s.now) if s.position.held_since else moved


def _being_tested(s: Situation, what: str) -> Cause:
    message = f"{len(s.preflight.pending)} pods of revision {s.canary} are being tested before {what}"
    return Cause(Reason.PREFLIGHT_RUNNING, message)


def _preflight_begins(s: Situation) -> Position:
    """Begin the preflight, and say so also where the pods were tested before their Service named them."""
    message = f"the pods of revision {s.canary} must pass their tests before any request"
    return replace(_entered(s, 1, Cause(Reason.PREFLIGHT_RUNNING, message)), state=RolloutState.PREFLIGHT)


def _next_step(s: Situation) -> Position:
    number = s.position.step + 1
    return _entered(s, number, Cause(Reason.SHIFTING, f"step {number} begins"))


def _entered(s: Situation, number: int, cause: Cause) -> Position:
    return replace(
        s.position,
        state=RolloutState.SHIFTING,
        step=number,
        cause=cause,
        step_started_at=s.now,
        held_since=None,
        stuck_since=None,
        blind_since=None,
        paused=False,
        waived=False,
        capacity=s.sizing.strategy,
    )


def _open_checks(s: Situation) -> tuple[CheckStatus, ...]:
    """Return what must be decided before the next step: before the promotion also what was put off."""
    if s.undecided or s.position.compared or not comes_promotion(s.policy.steps, s.position.step):
        return s.undecided
    return tuple(check for check in s.checks if check.verdict == Verdict.DEFERRED)


def _stuck(s: Situation, open_checks: tuple[CheckStatus, ...]) -> Decision:
    """Wait for what is undecided, each kind of doubt with a clock and a patience of its own."""
    cause, position = _doubt(s, open_checks), s.position
    stays = _stay(s, position.state, cause)
    if cause.reason is Reason.METRICS_UNAVAILABLE:
        since, patience = position.blind_since or s.now, s.policy.analysis.on_error
        waits = replace(stays, blind_since=since)
    else:
        since, patience = position.stuck_since or s.now, s.policy.analysis.on_inconclusive
        waits = replace(stays, stuck_since=since, blind_since=None)
    if s.now - since < timedelta(seconds=patience.after.seconds) or patience.action is Action.HOLD:
        return waits
    if patience.action is Action.ROLLBACK:
        return RolledBack(cause, rejected=True, check=open_checks[0])
    return replace(waits, state=RolloutState.PAUSED, paused=True)


def _doubt(s: Situation, checks: tuple[CheckStatus, ...]) -> Cause:
    """Say why the weight does not rise: measurements that can't be had before those that don't suffice."""
    blind = next((check for check in checks if check.verdict == Verdict.ERROR), None)
    if blind:
        return Cause(Reason.METRICS_UNAVAILABLE, f"{blind.name}: {blind.message}")
    check = checks[0]
    if check.verdict == Verdict.DEFERRED and not _has_like_load(s):
        advice = f"no step of the policy has like load on both sides; one of weight {COMPARABLE_WEIGHT} has"
        return Cause(Reason.CHECK_INCONCLUSIVE, f"{check.name}: {advice}")
    return Cause(Reason.CHECK_INCONCLUSIVE, f"{check.name}: {check.message or said_of(check)}")


def _has_like_load(s: Situation) -> bool:
    return s.sizing.comparable_somewhere(step.weight for step in s.policy.steps if step.weight)
