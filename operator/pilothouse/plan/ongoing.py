"""A rollout that is under way: one decision, and what it means for pods, traffic and memory."""

from dataclasses import dataclass, replace

from pilothouse.api.modeldeploymentstatus import RollbackStatus, RolloutStatus
from pilothouse.names import Reason, RolloutState
from pilothouse.plan.analysis import begin_step, observed_share
from pilothouse.plan.capacity import Size
from pilothouse.plan.cause import Cause
from pilothouse.plan.decision import Situation, capacity_of, decide
from pilothouse.plan.license import LicenseVerdict
from pilothouse.plan.measure import Measured
from pilothouse.plan.observed import Observed
from pilothouse.plan.position import Position, Promoted, RolledBack
from pilothouse.plan.record import Record, with_rejection
from pilothouse.plan.rollout import SCRAPE, SOON, Rollout
from pilothouse.plan.serving import asked_replicas
from pilothouse.plan.situation import Canary, situation_of
from pilothouse.plan.steps import promotion


@dataclass(frozen=True, slots=True)
class _Turn:
    """What was seen, what was measured, and where the rollout stands after it."""

    situation: Situation
    evidence: Measured
    position: Position


def continued(observed: Observed, under_way: Canary, record: Record, verdict: LicenseVerdict) -> Rollout:
    """Take the next decision about a canary."""
    situation, evidence = situation_of(observed, under_way, verdict)
    if situation.command:
        record = replace(record, last_command=situation.command.text)
    decision = decide(situation)
    if isinstance(decision, RolledBack):
        return _rolled_back(observed, under_way, record, decision)
    if isinstance(decision, Promoted):
        return _promoted(under_way, record)
    return _moved(observed, under_way, record, _Turn(situation, evidence, decision))


def _moved(observed: Observed, under_way: Canary, record: Record, turn: _Turn) -> Rollout:
    situation, evidence, position = turn.situation, turn.evidence, turn.position
    before = situation.position
    begins = position.held_since is not None and before.held_since is None
    analysis = begin_step(evidence.analysis) if begins and evidence.analysis else evidence.analysis
    live = Size(asked_replicas(observed, situation.canary), asked_replicas(observed, situation.stable))
    now_at = replace(situation, position=position)
    size = situation.sizing.next_size(
        capacity_of(now_at), min(before.weight, position.weight), live, situation.ready
    )
    turned = (before.state, before.step) != (position.state, position.step)
    return Rollout(
        stable=under_way.stable,
        target=under_way.target,
        canary=under_way.canary,
        weight=position.weight,
        size=size,
        gpus=situation.gpus,
        record=replace(
            record, rollout=_rollout_status(situation, position, replace(evidence, analysis=analysis))
        ),
        cause=position.cause,
        observed_weight=observed_share(analysis) if analysis else None,
        again=SOON if turned else SCRAPE,
    )


def _rollout_status(situation: Situation, position: Position, evidence: Measured) -> RolloutStatus:
    return RolloutStatus(
        state=position.state,
        reason=position.cause.reason,
        message=position.cause.message,
        step=position.step,
        steps=promotion(situation.policy.steps),
        started_at=position.started_at,
        step_started_at=position.step_started_at,
        held_since=position.held_since,
        stuck_since=position.stuck_since,
        blind_since=position.blind_since,
        capacity=position.capacity,
        paused=position.paused,
        waived=position.waived,
        compared=position.compared,
        preflight=situation.preflight.results,
        checks=evidence.checks,
        sampling=evidence.sampling,
        analysis=evidence.analysis,
    )


def _rolled_back(observed: Observed, under_way: Canary, record: Record, end: RolledBack) -> Rollout:
    canary, check = under_way.canary, end.check
    rollback = RollbackStatus(
        from_revision=canary.name,
        to_revision=under_way.stable.name,
        check=check.name if check else "",
        canary=check.canary if check else None,
        stable=check.stable if check else None,
        threshold=check.threshold if check else None,
        samples=check.samples if check else 0,
        reason=end.cause.reason,
        message=end.cause.message,
        started_at=observed.now,
    )
    rejected = (
        with_rejection(record.rejected, observed, canary, end.cause) if end.rejected else record.rejected
    )
    after = replace(record, rollout=_draining(end.cause), last_rollback=rollback, rejected=rejected)
    return Rollout(under_way.stable, under_way.target, record=after, cause=end.cause, again=SOON)


def _promoted(under_way: Canary, record: Record) -> Rollout:
    cause = Cause(Reason.PROMOTED, f"revision {under_way.canary.name} serves")
    after = replace(record, rollout=_draining(cause))
    return Rollout(under_way.canary, under_way.target, record=after, again=SOON)


def _draining(cause: Cause) -> RolloutStatus:
    return RolloutStatus(state=RolloutState.DRAINING, reason=cause.reason, message=cause.message)
