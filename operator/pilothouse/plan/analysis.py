"""Whether the canary is worse than stable: samples are folded into a small state, which gives the verdicts.

A check fails when the evidence of plan/evidence.py, where events count for as few as plan/overdispersion.py
says, crosses its share of the rollout's false-alarm bound; see docs/decisions/0007-the-sequential-test.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse.api.analysisstatus import (
    AnalysisStatus,
    ArmStatus,
    CheckAnalysisStatus,
    ComparisonStatus,
)
from pilothouse.api.modeldeploymentstatus import CheckStatus
from pilothouse.plan import evidence, likeness, overdispersion
from pilothouse.plan.overdispersion import Clock
from pilothouse.plan.samples import Arm, Check, Counts, PodSample, Sample
from pilothouse.plan.verdict import Case, judge

_ALL: Final = "all"
"""What stands for all canary pods together where pods are named."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is checked, how probable a false alarm may be (whole rollout, all checks), the fewest requests.

    `proves` says that a pass must be a proof, as it must before the promotion, and not only a good look.
    """

    checks: tuple[Check, ...]
    false_alarm: float
    min_requests: int
    proves: bool = True


def fold(state: AnalysisStatus | None, sample: Sample, rules: Rules) -> AnalysisStatus:
    """Add one sample to the state; None is the state before the first."""
    before = state or AnalysisStatus()
    canary, stable = _pods(sample, Arm.CANARY), _pods(sample, Arm.STABLE)
    ours = likeness.add(before.canary, canary, sample.canary_ready, sample.seconds)
    theirs = likeness.add(before.stable, stable, sample.stable_ready, sample.seconds)
    alike = not likeness.unlike_load(ours.load, theirs.load)
    clock = overdispersion.tick(before.seconds, sample.seconds)
    pods = (*before.pods, *sorted({pod.pod for pod in stable} - set(before.pods)))
    known = {check.name: check for check in before.checks}
    checks = tuple(
        _fold_check(
            known.get(check.name) or CheckAnalysisStatus(name=check.name),
            _Window(
                canary=_counts(canary, check.name),
                stable=_counts(stable, check.name),
                canary_pods=len(canary),
                requests=sum(pod.requests for pod in canary),
                comparable=alike or not check.compares_load,
                pods=pods,
                clock=clock,
            ),
        )
        for check in rules.checks
    )
    return AnalysisStatus(
        steps=before.steps,
        pods=() if clock.all_ended else pods,
        seconds=clock.running,
        canary=ours,
        stable=theirs,
        checks=checks,
    )


def begin_step(state: AnalysisStatus) -> AnalysisStatus:
    """Begin a new step: requests, load and a second comparison, beside that of the rollout, count anew."""
    anew = {"step": ComparisonStatus(), "alone_bad": 0.0, "alone_total": 0.0}
    checks = tuple(check.model_copy(update=anew) for check in state.checks)
    return state.model_copy(
        update={
            "steps": state.steps + 1,
            "canary": ArmStatus(),
            "stable": ArmStatus(),
            "checks": checks,
        }
    )


def observed_share(state: AnalysisStatus) -> float | None:
    """Return the canary's share of the requests of this step in percent, None where there were none."""
    requests = state.canary.requests + state.stable.requests
    return 100 * state.canary.requests / requests if requests > 0 else None


def verdicts(state: AnalysisStatus | None, rules: Rules, *, comparable: bool) -> tuple[CheckStatus, ...]:
    """Judge each check; latencies are deferred where loads can't be alike (`comparable` false)."""
    now = state or AnalysisStatus()
    known = {check.name: check for check in now.checks}
    unlike = _unlike(now)
    return tuple(
        judge(
            Case(
                check=check,
                seen=known.get(check.name) or CheckAnalysisStatus(name=check.name),
                false_alarm=rules.false_alarm / len(rules.checks),
                steps=now.steps,
                too_few=_too_few(now, rules),
                unlike=unlike if check.compares_load else "",
                deferred=check.compares_load and not comparable,
                proves=rules.proves,
            )
        )
        for check in rules.checks
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """What one check saw in one sample, pod by pod; `pods` are all stable pods of the open blocks."""

    canary: Mapping[str, Counts]
    stable: Mapping[str, Counts]
    canary_pods: int
    requests: float
    comparable: bool
    pods: tuple[str, ...]
    clock: Clock


def _fold_check(seen: CheckAnalysisStatus, window: _Window) -> CheckAnalysisStatus:
    canary, stable = _total(window.canary), _total(window.stable)
    compared = window.comparable and canary.total > 0 and stable.total > 0
    arm = (_ALL,) if compared else ()
    return seen.model_copy(
        update={
            **(_compared(seen, canary, stable, window.requests) if compared else {}),
            **(_alone(seen, canary) if window.comparable and not stable.total else {}),
            "stable_blocks": overdispersion.add(seen.stable_blocks, window.stable, window.pods, window.clock),
            "canary_blocks": overdispersion.add(seen.canary_blocks, {_ALL: canary}, arm, window.clock),
            "unread": _unread(seen.unread, window),
        }
    )


def _alone(seen: CheckAnalysisStatus, canary: Counts) -> dict[str, object]:
    return {"alone_bad": seen.alone_bad + canary.bad, "alone_total": seen.alone_total + canary.total}


def _unread(before: int, window: _Window) -> int:
    """Count the samples in a row in which the canary had pods and none was read for this check."""
    return before + 1 if window.canary_pods and not window.canary else 0


def _compared(
    seen: CheckAnalysisStatus, canary: Counts, stable: Counts, requests: float
) -> dict[str, object]:
    """Only windows in which both arms had events say anything of their difference."""
    return {
        "canary_bad": seen.canary_bad + canary.bad,
        "canary_total": seen.canary_total + canary.total,
        "stable_bad": seen.stable_bad + stable.bad,
        "stable_total": seen.stable_total + stable.total,
        "requests": seen.requests + requests,
        "rollout": evidence.add(seen.rollout, canary, stable),
        "step": evidence.add(seen.step, canary, stable),
    }


def _too_few(state: AnalysisStatus, rules: Rules) -> str:
    requests = state.canary.requests
    return f"TooFewRequests: {requests:.0f} of {rules.min_requests}" if requests < rules.min_requests else ""


def _unlike(state: AnalysisStatus) -> str:
    """Say why latencies prove nothing now, "" where they do."""
    canary, stable = state.canary, state.stable
    return likeness.unlike_load(canary.load, stable.load) or likeness.unlike_prompts(
        canary.prompt_lengths, stable.prompt_lengths
    )


def _pods(sample: Sample, arm: Arm) -> tuple[PodSample, ...]:
    return tuple(pod for pod in sample.pods if pod.arm is arm)


def _counts(pods: Sequence[PodSample], check: str) -> Mapping[str, Counts]:
    """Give each pod's counts; a pod that could not be read for this check is left out."""
    return {pod.pod: pod.counts[check] for pod in pods if check in pod.counts}


def _total(counts: Mapping[str, Counts]) -> Counts:
    return Counts(sum(count.bad for count in counts.values()), sum(count.total for count in counts.values()))
