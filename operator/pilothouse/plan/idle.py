"""What happens while no canary runs: nothing, a wait for its turn, or the beginning of a rollout."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeploymentstatus import RejectedRevision, RolloutStatus
from pilothouse.names import Reason, RolloutState, Verb
from pilothouse.plan.capacity import Size, Sizing, refusal_in_place
from pilothouse.plan.cause import Cause
from pilothouse.plan.fleet import gate, own_entry
from pilothouse.plan.gpuroom import Course, course
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.observed import Observed
from pilothouse.plan.podstate import is_overdue
from pilothouse.plan.position import beginning
from pilothouse.plan.record import Record, checkpoint_of, rejection_of, with_rejection
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import SOON, TURN, Rollout
from pilothouse.plan.serving import asked_replicas, ready_replicas
from pilothouse.plan.situation import Canary, command_about, policy_of
from pilothouse.plan.steps import FULL, capacity_at, promotion

_HEEDED: Final = frozenset({Verb.ABORT, Verb.RETRY})
"""What can be said of a revision that is not tried yet; the rest waits for its rollout."""


def idle(observed: Observed, stable: Revision | None, target: Revision | None, record: Record) -> Rollout:
    """Decide what to do while no canary runs."""
    record = _rested(observed, stable, record)
    resting = Rollout(stable, target, record=record, again=TURN if record.rollout else None)
    if not stable or not target or stable.name == target.name:
        return resting
    command = command_about(observed, target.name)
    if command and command.verb in _HEEDED:
        record = replace(record, last_command=command.text)
    if command and command.verb is Verb.ABORT:
        record = _aborted(observed, target, record)
    asked_again = record.last_command.startswith(f"{Verb.RETRY}/{target.name}")
    rejection = rejection_of(record, target)
    if rejection and not (command and command.verb is Verb.RETRY):
        return replace(resting, record=record, cause=_cause_of(rejection))
    record = replace(record, rejected=tuple(each for each in record.rejected if each != rejection))
    way = course(observed, stable, target)
    wait = _wait(observed, target, way, asked_again=asked_again)
    if wait:
        record = replace(record, rollout=_waiting(observed, wait))
        gpus = way.gpus if way.lack and wait.reason is way.lack.reason else Gpus()
        again = TURN if _waits(observed) else SOON
        return replace(resting, record=record, cause=wait, gpus=gpus, again=again)
    return _begun(observed, Canary(stable, target, target), way, record)


def _aborted(observed: Observed, target: Revision, record: Record) -> Record:
    """Reject what a person does not want to begin; one that failed before stays rejected for that."""
    if rejection_of(record, target):
        return record
    cause = Cause(Reason.ABORTED, f"revision {target.name} was aborted by command before it began")
    return replace(record, rejected=with_rejection(record.rejected, observed, target, cause))


def _rested(observed: Observed, stable: Revision | None, record: Record) -> Record:
    """Note when the pods that gave way are gone; nothing else is left of a rollout that has ended."""
    rollout, rollback = record.rollout, record.last_rollback
    if stable and _others_run(observed, stable.name):
        drains = rollout is not None and rollout.state == RolloutState.DRAINING
        return replace(record, rollout=rollout if drains else None)
    if rollback and not rollback.finished_at:
        rollback = rollback.model_copy(update={"finished_at": observed.now})
    return replace(record, rollout=None, last_rollback=rollback)


def _others_run(observed: Observed, stable: str) -> bool:
    """Say whether pods of another revision than stable are there, or their Deployments."""
    pods = (pod for pod in observed.pods if not is_overdue(pod, observed.now))
    running = [*observed.children_of_kind("Deployment"), *pods]
    return any(obj["metadata"].get("labels", {}).get(names.REVISION) != stable for obj in running)


def _wait(observed: Observed, target: Revision, way: Course, *, asked_again: bool) -> Cause | None:
    """Return what a rollout waits for before it begins; it names the revision, which commands ask for."""
    held = _hold(observed, target, way, asked_again=asked_again)
    return Cause(held.reason, f"revision {target.name} waits: {held.message}") if held else None


def _hold(observed: Observed, target: Revision, way: Course, *, asked_again: bool) -> Cause | None:
    spec = observed.deployment.spec
    if spec.rollout.paused:
        return Cause(Reason.ROLLOUT_PAUSED, "spec.rollout.paused is true")
    limit = policy_of(observed).max_concurrent_rollouts
    checkpoint = None if asked_again else checkpoint_of(target)
    # Who waits for GPUs takes nobody's turn.
    return (
        refusal_in_place(spec.rollout.capacity, spec.replicas)
        or way.lack
        or gate(own_entry(observed), observed.peers, limit, checkpoint, observed.now)
    )


def _waiting(observed: Observed, wait: Cause) -> RolloutStatus:
    return RolloutStatus(
        state=RolloutState.WAITING,
        reason=wait.reason,
        message=wait.message,
        started_at=_waits_since(observed, wait.reason) or observed.now,
    )


def _waits(observed: Observed) -> bool:
    rollout = observed.deployment.status.rollout
    return rollout is not None and rollout.state == RolloutState.WAITING


def _waits_since(observed: Observed, reason: Reason) -> datetime | None:
    """Return since when it waits for this reason; of those that wait for their turn it is the place."""
    rollout = observed.deployment.status.rollout
    if not rollout or (rollout.state, rollout.reason) != (RolloutState.WAITING, reason):
        return None
    return rollout.started_at


def _begun(observed: Observed, under_way: Canary, way: Course, record: Record) -> Rollout:
    """Start the canary's pods, at the size of the first step."""
    position = beginning(observed.now)
    steps = promotion(policy_of(observed).steps)
    rollout = RolloutStatus(
        state=position.state,
        reason=position.cause.reason,
        message=position.cause.message,
        steps=steps,
        started_at=observed.now,
        step_started_at=observed.now,
    )
    return Rollout(
        stable=under_way.stable,
        target=under_way.target,
        canary=under_way.canary,
        size=_first_size(observed, under_way.stable.name, way),
        gpus=way.gpus,
        record=replace(record, rollout=rollout),
        cause=position.cause,
        again=SOON,
    )


def _first_size(observed: Observed, stable: str, way: Course) -> Size:
    spec, steps = observed.deployment.spec, policy_of(observed).steps
    sizing = Sizing(way.strategy, way.replicas)
    live, ready = Size(0, asked_replicas(observed, stable)), Size(0, ready_replicas(observed, stable))
    return sizing.next_size(capacity_at(steps, 0) if spec.route else FULL, 0, live, ready)


def _cause_of(rejection: RejectedRevision) -> Cause:
    known = rejection.reason in set(Reason)
    message = f"revision {rejection.revision} was rejected: {rejection.message}"
    return Cause(Reason(rejection.reason) if known else Reason.REJECTED, message)
