"""One chunk of a cell: traffic, our verdicts, and the peers' on the same traffic."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from benchmarks.detection import peers
from benchmarks.detection.cells import HISTORY, IDENTICAL, INTERVAL, Cell, Fault, Scale, Traffic
from benchmarks.detection.engine import requests
from benchmarks.detection.ours import RULES, Outcome, outcomes
from benchmarks.detection.windows import Objectives, Windows, windows

CHUNK: Final = 50
_SEED: Final = 20261125
_MISSES: Final = 0.03
"""The share of stable's requests that miss the objectives, in the traffic for which they were set."""
_BEGIN: Final = int(HISTORY / INTERVAL)


@dataclass(frozen=True)
class Bound:
    """Wald's test: the shares it was told; canary requests and seconds of each rollout (nan: undecided)."""

    boundary: float
    share: float
    requests: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Chunk:
    """What became of CHUNK rollouts; the peers' are seconds to the abort, nan for none."""

    ours: list[Outcome]
    peers: dict[str, list[float]]
    bound: Bound | None


def run(cell: Cell, number: int) -> Chunk:
    """Run the chunk `number` of a cell."""
    rng = np.random.default_rng([_SEED, cell.index, number])
    seen = windows(cell, CHUNK, requests(cell, CHUNK, rng), _objectives(cell.traffic, cell.scale))
    rules = {"Argo": peers.argo, "Flagger": peers.flagger, "Mann-Whitney": peers.kayenta}
    return Chunk(
        ours=outcomes(cell, seen),
        peers={name: _seconds(rule(cell, seen)) for name, rule in rules.items()},
        bound=_bound(cell, seen),
    )


@cache
def _objectives(traffic: Traffic, scale: Scale) -> Objectives:
    """Set the objectives where stable nearly always holds them; a load step or drift comes as a surprise."""
    known = traffic if traffic in (Traffic.IID, Traffic.BURSTS) else Traffic.STEADY
    usual = requests(Cell(0, known, IDENTICAL, scale), 20, np.random.default_rng(_SEED))
    first, done = np.isfinite(usual.first_token_at), np.isfinite(usual.finished_at)
    return Objectives(
        ttft=float(np.quantile(usual.ttft[first], 1 - _MISSES)),
        per_token=float(np.quantile(usual.per_token[done], 1 - _MISSES)),
    )


def _bound(cell: Cell, seen: Windows) -> Bound | None:
    """Run Wald's test, by request, on the check that the fault should fail; None where there is no fault."""
    measure = _measure(cell.fault)
    if measure is None:
        return None
    check, bad_field, total_field = measure
    bad, total = (peers.canary_sum(cell, seen, field) for field in (bad_field, total_field))
    stable = [peers.stable_sum(cell, seen, field)[:, _BEGIN:].sum() for field in (bad_field, total_field)]
    boundary = float(stable[0] / stable[1]) + RULES.checks[check].margin
    share = float(bad.sum() / total.sum())
    if share < boundary + 0.005:
        return Bound(boundary, share, [], [])
    looks = peers.sprt(bad, total, boundary, share, RULES.false_alarm)
    arrived = np.cumsum(peers.canary_sum(cell, seen, "requests")[:, _BEGIN:], axis=1)
    needed = np.where(looks >= 0, arrived[np.arange(len(looks)), looks], np.nan)
    return Bound(boundary, share, needed.tolist(), _seconds(looks))


def _measure(fault: Fault) -> tuple[int, str, str] | None:
    if fault.prefill > 1:
        return 0, "ttft_bad", "ttft_total"
    if fault.decode > 1:
        return 1, "slow_requests", "requests"
    if fault.errors:
        return 2, "failed", "requests"
    return (3, "cut", "requests") if fault.length_stops else None


def _seconds(looks: peers.Looks) -> list[float]:
    return [float((look + 1) * INTERVAL) if look >= 0 else math.nan for look in looks]
