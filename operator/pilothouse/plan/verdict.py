"""What the user is told of one check: verdict, shares, how near a decision is, and why there is none."""

import math
from dataclasses import dataclass
from typing import Final

from pilothouse.api.analysisstatus import CheckAnalysisStatus, ComparisonStatus
from pilothouse.api.modeldeploymentstatus import CheckStatus
from pilothouse.names import Verdict
from pilothouse.plan import evidence, overdispersion
from pilothouse.plan.evidence import weigh
from pilothouse.plan.samples import Check, Counts

_FALSE_PASS: Final = 0.05
"""The probability that a check passes a canary that is worse by its margin."""

_ROLLOUT_SHARE: Final = 0.8
"""The rollout's part of the false-alarm bound; the steps after the first share the rest."""

_LATENCY_NOISE: Final = 4.0
_OTHER_NOISE: Final = 1.5
"""The over-dispersion, by request, that is assumed until it is learnt."""

_UNREAD: Final = 3
"""After so many samples in a row without a measurement a check is an error, no longer a matter of waiting."""

_BREACH_DEVIATIONS: Final = 3.0
"""How far beyond the lane's objective stable must be, in standard deviations, to have breached it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One check and what bears on it: its share of the false-alarm bound, and what stands against a verdict.

    `too_few` and `unlike` are sentences, "" where all is well. `proves` says that a pass must be a proof.
    """

    check: Check
    seen: CheckAnalysisStatus
    false_alarm: float
    steps: int
    too_few: str
    unlike: str
    deferred: bool
    proves: bool


def judge(case: Case) -> CheckStatus:
    """Judge one check."""
    seen = case.seen
    noise = _overdispersion(case)
    failing = _failing(case, overdispersion.doubted(noise, seen.stable_blocks, seen.canary_blocks))
    verdict, message = _verdict(case, failing, passing=_passes(case, noise))
    stable = _share(seen.rollout.stable, seen.rollout)
    return CheckStatus(
        name=case.check.name,
        verdict=verdict,
        canary=_share(seen.rollout.canary, seen.rollout),
        stable=stable,
        threshold=None if stable is None else round(min(1.0, stable + case.check.margin), 6),
        samples=round(seen.canary_total),
        evidence=round(failing, 3) if seen.rollout.weight else None,
        message="; ".join(part for part in (message, case.check.note) if part),
    )


def _verdict(case: Case, failing: float, *, passing: bool) -> tuple[Verdict, str]:
    if case.deferred:
        return Verdict.DEFERRED, "loads can't be alike at this step's replica counts"
    if case.unlike:
        return Verdict.INCONCLUSIVE, case.unlike
    if failing >= 1:
        return Verdict.FAIL, ""
    if case.seen.unread >= _UNREAD:
        return Verdict.ERROR, f"not measured in the last {case.seen.unread} samples"
    reason = case.too_few or _breach(case) or ("" if passing else "TooLittleEvidence")
    return (Verdict.INCONCLUSIVE, reason) if reason else (Verdict.PASS, "")


def _failing(case: Case, noise: float) -> float:
    """Say how near a failure is, 1 being one. The bound is shared by the rollout as a whole and its steps.

    The first step is the rollout so far; step j > 1 gets 1 / (j (j - 1)) of the steps' part, which sums to 1.
    """
    rollout = weigh(case.seen.rollout, case.check.margin, noise)
    of_rollout = rollout.worse / -math.log(case.false_alarm * _ROLLOUT_SHARE)
    if case.steps <= 1:
        return max(0.0, of_rollout)
    step = weigh(_of_step(case.seen), case.check.margin, noise)
    of_step = step.worse / -math.log(
        case.false_alarm * (1 - _ROLLOUT_SHARE) / (case.steps * (case.steps - 1))
    )
    return max(0.0, of_rollout, of_step)


def _of_step(seen: CheckAnalysisStatus) -> ComparisonStatus:
    """Return the step's comparison; where stable has no requests, in the bake, with what it had before."""
    if seen.step.weight:
        return seen.step
    alone, before = Counts(seen.alone_bad, seen.alone_total), Counts(seen.stable_bad, seen.stable_total)
    return evidence.add(ComparisonStatus(), alone, before)


def _passes(case: Case, noise: float) -> bool:
    """Ask that the step does not speak against the canary, and before the promotion for a proof."""
    step, margin = case.seen.step, case.check.margin
    looks_well = step.canary <= step.stable + margin * step.weight
    return looks_well and (not case.proves or _is_proved(case, noise))


def _is_proved(case: Case, noise: float) -> bool:
    return weigh(case.seen.rollout, case.check.margin, noise).better >= -math.log(_FALSE_PASS)


def _breach(case: Case) -> str:
    """Say that stable itself is clearly beyond the lane's objective, "" where it or the canary is not.

    A canary that holds to it may be what mends stable.
    """
    objective, step = case.check.objective, case.seen.step
    if objective is None or step.weight <= 0 or step.canary <= objective * step.weight:
        return ""
    share = step.stable / step.weight
    deviation = math.sqrt(_overdispersion(case) * objective * (1 - objective) / step.weight)
    if share <= objective + _BREACH_DEVIATIONS * deviation:
        return ""
    return f"StableBreached: stable has {share:.1%} bad where the lane allows {objective:.1%}"


def _overdispersion(case: Case) -> float:
    """Start from what is usual for the check; all events of one request may be alike."""
    seen = case.seen
    each = max(1.0, seen.canary_total / seen.requests) if seen.requests else 1.0
    usual = _LATENCY_NOISE if case.check.compares_load else _OTHER_NOISE
    return overdispersion.factor(seen.stable_blocks, seen.canary_blocks, usual * each)


def _share(weighted: float, comparison: ComparisonStatus) -> float | None:
    return round(weighted / comparison.weight, 6) if comparison.weight else None
