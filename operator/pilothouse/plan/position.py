"""Where a rollout stands, and how one ends: what the rules of plan/decision.py return."""

from dataclasses import dataclass
from datetime import datetime

from pilothouse.api.modeldeploymentstatus import CheckStatus, ModelDeploymentStatus, RolloutStatus
from pilothouse.names import Reason, RolloutState
from pilothouse.plan.cause import Cause


@dataclass(frozen=True, slots=True)
class Position:
    """One place in a rollout.

    `step` 0 is before the first step, one more than the policy has is the promotion. `weight` is the
    canary's, in percent. `held_since` is None until the step's weight is reached. `waived` says that a person
    promoted it to this step, past undecided checks.
    """

    state: RolloutState
    step: int
    weight: int
    cause: Cause
    started_at: datetime
    step_started_at: datetime
    held_since: datetime | None = None
    stuck_since: datetime | None = None
    blind_since: datetime | None = None
    capacity: str = ""
    paused: bool = False
    waived: bool = False
    compared: bool = False


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The traffic goes back to stable; a rejected revision is not tried again unasked."""

    cause: Cause
    rejected: bool
    check: CheckStatus | None = None


@dataclass(frozen=True, slots=True)
class Promoted:
    """The canary has become stable."""


Decision = Position | RolledBack | Promoted


def beginning(now: datetime) -> Position:
    """Return where a rollout begins."""
    cause = Cause(Reason.ROLLING_OUT, "the canary's pods are on their way")
    return Position(RolloutState.STARTING, 0, 0, cause, now, now)


def position_of(status: ModelDeploymentStatus, now: datetime) -> Position:
    """Read back where the rollout stands; what the status has lost begins anew."""
    rollout, canary = status.rollout, status.canary
    if not rollout or not canary or rollout.state not in set(RolloutState):
        return beginning(now)
    return Position(
        state=RolloutState(rollout.state),
        step=rollout.step,
        weight=canary.weight.desired if canary.weight else 0,
        cause=_cause_of(rollout),
        started_at=rollout.started_at or now,
        step_started_at=rollout.step_started_at or now,
        held_since=rollout.held_since,
        stuck_since=rollout.stuck_since,
        blind_since=rollout.blind_since,
        capacity=rollout.capacity,
        paused=rollout.paused,
        waived=rollout.waived,
        compared=rollout.compared,
    )


def _cause_of(rollout: RolloutStatus) -> Cause:
    known = rollout.reason in set(Reason)
    return Cause(Reason(rollout.reason) if known else Reason.ROLLING_OUT, rollout.message)
