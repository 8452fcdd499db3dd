"""Gathers what a decision about a canary reads from all that was observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pilothouse.api.rolloutpolicy import BUILT_IN, RolloutPolicySpec, Step
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.names import RolloutState
from pilothouse.plan.capacity import Size, Sizing
from pilothouse.plan.cause import Cause
from pilothouse.plan.commands import Command, command_of
from pilothouse.plan.decision import Situation
from pilothouse.plan.diagnosis import diagnose
from pilothouse.plan.gpuroom import Course, course
from pilothouse.plan.hard import failure_of
from pilothouse.plan.license import LicenseVerdict
from pilothouse.plan.measure import Arms, Measured, measured, remembered
from pilothouse.plan.observed import Observed
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.position import position_of
from pilothouse.plan.preflight import PreflightOutcome, outcome
from pilothouse.plan.programmed import route_trouble
from pilothouse.plan.revision import Revision
from pilothouse.plan.serving import asked_replicas, deployment_of, reachable_replicas, ready_replicas

_EARLY: Final = frozenset({RolloutState.STARTING, RolloutState.PREFLIGHT})
_NOT_TESTED: Final = PreflightOutcome((), None, ())


@dataclass(frozen=True, slots=True)
class Canary:
    """A rollout that is under way: its two revisions, and what the spec asks for."""

    stable: Revision
    canary: Revision
    target: Revision | None


def situation_of(
    observed: Observed, under_way: Canary, verdict: LicenseVerdict
) -> tuple[Situation, Measured]:
    """Return what the decision reads, and what was measured for it."""
    stable, canary, status = under_way.stable.name, under_way.canary.name, observed.deployment.status
    position, policy = position_of(status, observed.now), policy_of(observed)
    ready = Size(reachable_replicas(observed, canary), ready_replicas(observed, stable))
    spec, lack = observed.deployment.spec, _lack(observed, canary)
    way = course(observed, under_way.stable, under_way.canary, position.capacity, lack)
    sizing = Sizing(way.strategy, way.replicas)
    # On the way to a step the one before it is what has been judged.
    judged = position.step if position.held_since else position.step - 1
    proves = _is_last_comparison(policy.steps, max(0, judged), sizing)
    early = position.state in _EARLY
    evidence = measured(observed, policy, Arms(canary, stable, ready, position.weight, proves, early))
    situation = Situation(
        now=observed.now,
        policy=policy,
        stable=stable,
        canary=canary,
        target=under_way.target.name if under_way.target else None,
        routed=spec.route is not None,
        held=spec.rollout.paused,
        command=command_about(observed, canary),
        position=position,
        denial=_denial(observed, under_way.canary, verdict),
        failure=failure_of(observed.pods, observed.readings, _last_counted(observed), canary, stable),
        preflight=_preflight(observed, policy, canary),
        checks=evidence.checks,
        sizing=sizing,
        ready=ready,
        gpus=way.gpus,
        lack=lack or _awaited(observed, canary, way),
        route=route_trouble(observed) if spec.route else None,
        stable_down_since=_down_since(observed, stable),
    )
    return situation, evidence


def policy_of(observed: Observed) -> RolloutPolicySpec:
    """Return the policy to judge by: where the named one is gone nothing moves, but detectors go on."""
    return observed.policy or BUILT_IN


def command_about(observed: Observed, revision: str) -> Command | None:
    """Return what a person wants of this revision, unless it was carried out already."""
    deployment = observed.deployment
    command = command_of(deployment.metadata.annotations, deployment.status.last_command)
    return command if command and command.revision == revision else None


def _is_last_comparison(steps: Sequence[Step], number: int, sizing: Sizing) -> bool:
    """Say whether latencies can't be compared after this step: what is to be proved is proved here."""
    return not sizing.comparable_somewhere(step.weight for step in steps[number:] if step.weight)


def _denial(observed: Observed, canary: Revision, verdict: LicenseVerdict) -> Cause | None:
    """Return why this canary may not be served: the verdict is about what the spec declares now."""
    model = observed.deployment.spec.model
    declared = {"licenseID": model.license.id, "checkpointRevision": model.checkpoint.revision}
    if verdict.allowed or not declared.items() <= canary.pins.items():
        return None
    return Cause(verdict.reason, verdict.message)


def _last_counted(observed: Observed) -> SamplingStatus | None:
    """Return what hard failures are looked for since: the last sample, or what is more recent."""
    return observed.recent or remembered(observed.deployment.status.rollout).sampling


def _preflight(observed: Observed, policy: RolloutPolicySpec, canary: str) -> PreflightOutcome:
    if not any(step.preflight for step in policy.steps):
        return _NOT_TESTED
    rollout = observed.deployment.status.rollout
    pods = [pod["metadata"]["uid"] for pod in pods_of(observed.pods, canary) if is_ready(pod)]
    return outcome(rollout.preflight if rollout else (), observed.preflights, pods)


def _lack(observed: Observed, canary: str) -> Cause | None:
    live = deployment_of(observed, canary)
    return diagnose(live, observed.pods) if live else None


def _awaited(observed: Observed, canary: str, way: Course) -> Cause | None:
    """Return why no more pods are asked for, once all of those that are asked for are ready."""
    return way.lack if ready_replicas(observed, canary) >= asked_replicas(observed, canary) else None


def _down_since(observed: Observed, stable: str) -> datetime | None:
    """Return since when stable has no ready pod, by its Deployment's own word."""
    live = deployment_of(observed, stable)
    if not live or ready_replicas(observed, stable):
        return None
    conditions = live.get("status", {}).get("conditions", [])
    available = next((entry for entry in conditions if entry["type"] == "Available"), None)
    if not available or available["status"] == "True":
        return None
    return datetime.fromisoformat(available["lastTransitionTime"])
