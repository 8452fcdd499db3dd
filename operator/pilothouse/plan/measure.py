"""Joins reading, counting and judging: what the checks say now, and what must be remembered for that."""

from dataclasses import dataclass, replace
from datetime import timedelta

from pilothouse.api.analysisstatus import AnalysisStatus
from pilothouse.api.modeldeploymentstatus import CheckStatus, RolloutStatus
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import Analysis, RolloutPolicySpec, SampleSource
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.names import Verdict
from pilothouse.plan.analysis import Rules, fold, verdicts
from pilothouse.plan.capacity import Size, comparable
from pilothouse.plan.checks import checks_of, counter_of, definition_of
from pilothouse.plan.observed import Observed
from pilothouse.plan.podcounters import tells
from pilothouse.plan.samples import Sample
from pilothouse.plan.sampling import is_due, serving, take
from pilothouse.plan.steps import FULL


@dataclass(frozen=True, slots=True)
class Arms:
    """The two revisions that are compared, how many pods of each are ready, and the canary's weight.

    `proves` says that this is the last step to compare them at, so that a pass must be a proof; `early` that
    the canary still starts or is tested.
    """

    canary: str
    stable: str
    ready: Size
    weight: int
    proves: bool
    early: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What is remembered, and the checks as last judged."""

    sampling: SamplingStatus | None = None
    analysis: AnalysisStatus | None = None
    checks: tuple[CheckStatus, ...] = ()


def measured(observed: Observed, policy: RolloutPolicySpec, arms: Arms) -> Measured:
    """Count what was read where a sample is due, and judge: a step that has just begun passes nothing."""
    known = remembered(observed.deployment.status.rollout)
    queue_class, analysis = observed.queue_class, policy.analysis
    interval = timedelta(seconds=analysis.interval.seconds)
    if not queue_class:
        return known
    rules = Rules(checks_of(queue_class, analysis), analysis.false_alarm, analysis.min_requests, arms.proves)
    if not is_due(known.sampling, interval, observed.now):
        return replace(known, checks=_judged(known.analysis, rules, arms, known.checks))
    if arms.early:
        known = replace(known, checks=_unanswered(observed, analysis, arms.stable))
    why = _blindness(observed, analysis.source, arms) if arms.weight else ""
    if why:
        return replace(known, checks=_blind(rules, known.checks, why))
    sampling, sample = _counted(observed, queue_class, analysis, arms, known.sampling)
    before = known.analysis if known.sampling and known.sampling.definition == sampling.definition else None
    state = fold(before, sample, rules) if sample else before
    return Measured(sampling, state, _judged(state, rules, arms, known.checks))


def _judged(
    state: AnalysisStatus | None, rules: Rules, arms: Arms, before: tuple[CheckStatus, ...]
) -> tuple[CheckStatus, ...]:
    """Judge what has traffic; what promoted a canary stands while it has all of it, unless a check fails."""
    if not arms.weight:
        return before if arms.early else ()
    judged = verdicts(state, rules, comparable=comparable(arms.weight, arms.ready))
    failed = any(check.verdict == Verdict.FAIL for check in judged)
    return judged if failed or arms.weight < FULL else before


def _unanswered(observed: Observed, analysis: Analysis, stable: str) -> tuple[CheckStatus, ...]:
    """Tell beforehand which checks can't be asked even about stable: they would hold the rollout up."""
    answered = {name for entry in observed.readings if entry.revision == stable for name in entry.queries}
    nothing = f"the queries give no number of stable revision {stable}: no such series, or no traffic yet"
    why = observed.unread.get("", nothing)
    return tuple(
        CheckStatus(name=check.name, verdict=Verdict.ERROR, message=why)
        for check in analysis.checks
        if check.prometheus and check.name not in answered
    )


def _counted(
    observed: Observed, queue_class: QueueClass, analysis: Analysis, arms: Arms, before: SamplingStatus | None
) -> tuple[SamplingStatus, Sample | None]:
    return take(
        before,
        serving(observed.readings, observed.pods),
        canary=arms.canary,
        stable=arms.stable,
        counts=counter_of(observed.readings, queue_class, analysis),
        warmup=analysis.warmup_requests,
        ready={arms.canary: arms.ready.canary, arms.stable: arms.ready.stable},
        now=observed.now,
        definition=definition_of(queue_class, analysis),
    )


def remembered(rollout: RolloutStatus | None) -> Measured:
    """Return what the status holds."""
    return Measured(rollout.sampling, rollout.analysis, rollout.checks) if rollout else Measured()


def _blindness(observed: Observed, source: SampleSource, arms: Arms) -> str:
    """Say why there is no measurement by the policy's source, empty where there is one.

    While Prometheus does not answer, pods are read directly for hard failures; those readings are ahead of
    its own, so they are not counted.
    """
    by_scrape = source is SampleSource.SCRAPE
    told = [reading for reading in observed.readings if reading.pod and reading.fresh is by_scrape]
    seen = {reading.revision for reading in told if tells(reading)}
    sides = {arms.canary: arms.ready.canary, arms.stable: arms.ready.stable}
    missing = [revision for revision, pods in sides.items() if pods and revision not in seen]
    if not missing:
        return ""
    mute = "an engine answers without its counters" if told else "no engine could be read"
    words = next(iter(observed.unread.values()), mute)
    return f"no measurement of revision {', '.join(missing)}: {words}"


def _blind(rules: Rules, before: tuple[CheckStatus, ...], why: str) -> tuple[CheckStatus, ...]:
    known = {check.name: check for check in before}
    return tuple(
        known.get(check.name, CheckStatus(name=check.name, verdict=Verdict.ERROR)).model_copy(
            update={"verdict": Verdict.ERROR, "message": why}
        )
        for check in rules.checks
    )
