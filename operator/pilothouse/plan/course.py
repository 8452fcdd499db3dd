"""Which course a ModelDeployment takes: it serves for the first time, a rollout goes on, or none runs."""

from collections.abc import Mapping
from dataclasses import replace

from pilothouse.plan.idle import idle
from pilothouse.plan.license import LicenseVerdict
from pilothouse.plan.observed import Observed
from pilothouse.plan.ongoing import continued
from pilothouse.plan.record import Record, record_of, rejection_of
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout
from pilothouse.plan.serving import addressed, has_served, stable_of
from pilothouse.plan.situation import Canary


def rollout_of(
    observed: Observed,
    revisions: Mapping[str, Revision],
    target: Revision | None,
    verdict: LicenseVerdict,
) -> Rollout:
    """Decide who serves now, and what comes next."""
    known = {**revisions, target.name: target} if target else dict(revisions)
    record = record_of(observed)
    stable = stable_of(observed, revisions)
    canary = _canary(observed, known)
    if target and _takes_over(observed, record, target, stable):
        decided = Rollout(target, target, record=replace(record, rollout=None))
    elif stable and canary and canary.name != stable.name:
        decided = continued(observed, Canary(stable, canary, target), record, verdict)
    else:
        decided = idle(observed, stable, target, record)
    return _with_former(observed, known, decided)


def _canary(observed: Observed, revisions: Mapping[str, Revision]) -> Revision | None:
    status = observed.deployment.status
    return revisions.get(status.canary.revision) if status.canary else None


def _takes_over(observed: Observed, record: Record, target: Revision, stable: Revision | None) -> bool:
    """Say whether the target serves without a rollout: where nothing has served yet, or nothing runs."""
    if not stable:
        return True
    untried = stable.name != target.name and not rejection_of(record, target)
    return untried and not (observed.deployment.spec.replicas and has_served(observed, stable.name))


def _with_former(observed: Observed, revisions: Mapping[str, Revision], decided: Rollout) -> Rollout:
    """Keep the pods of every revision that may still get requests."""
    parts = {part.name for part in (decided.stable, decided.canary) if part}
    former = tuple(
        revisions[name]
        for name in dict.fromkeys(addressed(observed))
        if name in revisions and name not in parts
    )
    return replace(decided, former=former)
