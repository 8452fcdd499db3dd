"""A rollout as Pilothouse judges it: plan.analysis on each sample, and three steps."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from benchmarks.detection.cells import HISTORY, HOLDS, INTERVAL, Cell
from benchmarks.detection.windows import WINDOWS, Windows

from pilothouse.names import Verdict
from pilothouse.plan.analysis import Rules, begin_step, fold, verdicts
from pilothouse.plan.samples import Arm, Check, Counts, PodSample, Sample

RULES: Final = Rules(
    checks=(
        Check("time-to-first-token", margin=0.05, compares_load=True, objective=0.05),
        Check("inter-token-latency", margin=0.05, compares_load=True, objective=0.05),
        Check("success", margin=0.01, compares_load=False, objective=0.01),
        Check("length-stops", margin=0.05, compares_load=False),
    ),
    false_alarm=0.01,
    min_requests=50,
    proves=False,
)
_LAST: Final = replace(RULES, proves=True)
"""The last step asks for a proof, since the promotion comes next."""
_BEGIN: Final = int(HISTORY / INTERVAL)
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended: Promoted, Held or RolledBack, by which checks, after what."""

    end: str
    checks: tuple[str, ...]
    requests: float
    seconds: float


def outcomes(cell: Cell, seen: Windows) -> list[Outcome]:
    """Judge every rollout."""
    return [_outcome(cell, rollout.transpose(1, 0, 2).tolist()) for rollout in seen.pods]


def _outcome(cell: Cell, rollout: list[list[list[float]]]) -> Outcome:
    """Fold what each window saw until the rollout ends."""
    state = None
    for window in range(_BEGIN):
        state = fold(state, _sample(cell, window, rollout[window]), RULES)
    assert state is not None
    state = begin_step(state)
    step, since, requests = 0, _BEGIN, 0.0
    for window in range(_BEGIN, WINDOWS):
        sample = _sample(cell, window, rollout[window])
        state = fold(state, sample, RULES)
        requests += sum(pod.requests for pod in sample.pods if pod.arm is Arm.CANARY)
        found = verdicts(state, _LAST if step + 1 == len(HOLDS) else RULES, comparable=True)
        seconds = (window + 1 - _BEGIN) * INTERVAL
        failed = tuple(check.name for check in found if check.verdict == Verdict.FAIL)
        if failed:
            return Outcome("RolledBack", failed, requests, seconds)
        held = (window + 1 - since) * INTERVAL >= HOLDS[step]
        if held and all(check.verdict == Verdict.PASS for check in found):
            step, since = step + 1, window + 1
            if step == len(HOLDS):
                return Outcome("Promoted", (), requests, seconds)
            state = begin_step(state)
    undecided = tuple(check.name for check in found if check.verdict != Verdict.PASS)
    return Outcome("Held", undecided, requests, seconds)


def _sample(cell: Cell, window: int, pods: list[list[float]]) -> Sample:
    scale = cell.scale
    first = scale.canaries if window < _BEGIN else 0
    return Sample(
        at=_START + timedelta(seconds=(window + 1) * INTERVAL),
        seconds=INTERVAL,
        pods=tuple(_pod(cell, number, pods[number]) for number in range(first, len(pods))),
        canary_ready=scale.canaries,
        stable_ready=scale.stables,
    )


def _pod(cell: Cell, number: int, row: list[float]) -> PodSample:
    ttft_bad, ttft, itl_bad, itl, failed, cut, requests, prompt, output, _, *lengths = row
    return PodSample(
        pod=f"pod-{number}",
        arm=Arm.CANARY if number < cell.scale.canaries else Arm.STABLE,
        counts={
            "time-to-first-token": Counts(ttft_bad, ttft),
            "inter-token-latency": Counts(itl_bad, itl),
            "success": Counts(failed, requests),
            "length-stops": Counts(cut, requests),
        },
        requests=requests,
        prompt_tokens=prompt,
        generation_tokens=output,
        prompt_lengths=tuple(lengths),
        arrivals=requests,
    )
