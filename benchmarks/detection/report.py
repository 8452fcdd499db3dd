"""The tables of results/detection.md."""

import math
from collections.abc import Sequence

import numpy as np
from benchmarks.detection.cells import HISTORY, HOLDS, IDENTICAL, INTERVAL, PATIENCE, Cell, Traffic
from benchmarks.detection.ours import RULES, Outcome
from benchmarks.detection.trial import Chunk
from benchmarks.measure import table

Results = dict[Cell, list[Chunk]]

_PEERS = ("Argo", "Flagger", "Mann-Whitney")


def report(results: Results, surroundings: str) -> str:
    """Return the whole text."""
    identical = {cell: chunks for cell, chunks in results.items() if cell.fault == IDENTICAL}
    degraded = {cell: chunks for cell, chunks in results.items() if cell.fault != IDENTICAL}
    return "\n".join(
        [
            "# Detection",
            "",
            _method(results),
            surroundings,
            "## Targets",
            "",
            _targets(identical, degraded),
            "## Identical revisions: every rollback is false",
            "",
            _identical(identical),
            "## Degraded revisions",
            "",
            _degraded(degraded),
        ]
    )


def _method(results: Results) -> str:
    counts = [len(_ours(chunks)) for chunks in results.values()]
    rollouts = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    holds = ", ".join(f"{hold:.0f}" for hold in HOLDS)
    return f"""How soon a worse canary is told from stable, and how often a good one is taken for worse.
{rollouts} seeded rollouts a cell ({sum(counts):,} in all), each judged by the operator's own code
(`plan/analysis.py`) every {INTERVAL:.0f} s on four checks at once: time to first token and inter-token
latency (margin 5 points, objective 95 %), success (margin 1 point), answers cut at the cap (margin 5
points); falseAlarm {RULES.false_alarm:g} for the whole rollout, minRequests {RULES.min_requests}. Steps
of {holds} s, each left when all checks pass; held: not promoted {PATIENCE / 60:.0f} minutes after its
first request. Stable is watched for {HISTORY / 60:.0f} minutes before, as long as the canary loads its
model. All pods get the same load.

"Independent latencies" draws each request's latencies by themselves. Everything else is a continuous
batcher per pod (one prefill at a time, shared decoding, slots, a queue; lognormal prompts and answers; 40 %
busy with prefills), where a slow prompt delays those behind it. "Bursts": each pod's arrivals jump to five
times for 5 s, every 20 s on average. "Load step": 1.6 times the requests on both sides, from the third
minute on. "Drifting prompts": half as long again by the end. Objectives are set where 3 % of stable's
requests miss them, under independent arrivals also for load step and drift, so that stable itself breaches
them there. Tokens of one request are all slow or all fast, and each counts.

Peers, on the same traffic for the {sum(HOLDS) / 60:.0f} minutes that the steps take: *Argo*, p95 of a
window above 1.25 times stable's or success under 95 %, more than 3 failures of one metric in all;
*Flagger*, the same with 99 %, five failed runs in all; *Mann-Whitney*, on all requests so far for each of
the four measures, one-sided at 5 %, at every look from 50 requests on, as Kayenta would if it were asked as
often. *SPRT* is Wald's test at 1 % for the one check at fault, told both true shares (canary's, and
stable's plus margin): nothing can be much faster where requests are independent; elsewhere its shares are
means over the rollout, and it is no bound. It looks at the same moments. Percentages are with one standard
error.
"""


def _targets(identical: Results, degraded: Results) -> str:
    return table(("target", "measured"), (*_false_alarms(identical), *_doubled(degraded)))


def _false_alarms(identical: Results) -> list[tuple[str, str]]:
    shares = {cell: _share(chunks, "RolledBack") for cell, chunks in identical.items()}
    worst = max(shares, key=lambda cell: shares[cell][0])
    total = sum(len(_ours(chunks)) for chunks in identical.values())
    false = sum(outcome.end == "RolledBack" for chunks in identical.values() for outcome in _ours(chunks))
    within = (
        share <= RULES.false_alarm + 2 * _error(RULES.false_alarm, count) for share, count in shares.values()
    )
    met = "met" if all(within) else "MISSED"
    where = f"{worst.traffic}, {worst.scale.per_interval} an interval, {worst.scale.stables} stable"
    return [
        (
            f"false rollbacks at most {RULES.false_alarm:.0%} + 2 standard errors in every cell",
            f"{met}: worst {_percent(*shares[worst])} ({where}); {false} of {total:,} in all",
        )
    ]


def _doubled(degraded: Results) -> list[tuple[str, str]]:
    rows = []
    for traffic in (Traffic.IID, Traffic.STEADY, Traffic.BURSTS):
        cells = [cell for cell in degraded if cell.traffic is traffic and cell.fault.prefill == 2]
        caught = ", ".join(_percent(*_share(degraded[cell], "RolledBack")) for cell in cells)
        ratios = ", ".join(_ratio(degraded[cell]) for cell in cells)
        sizes = ", ".join(str(cell.scale.per_interval) for cell in cells)
        rows.append(
            (
                f"first token x2, {traffic}: {_wanted(traffic)}",
                f"{caught} caught, {ratios} times the SPRT's requests ({sizes} canary requests an interval)",
            )
        )
    return rows


def _wanted(traffic: Traffic) -> str:
    caught = "at least 99 % caught"
    return (
        f"{caught}, with at most 3 times the SPRT's requests (median)" if traffic is Traffic.IID else caught
    )


def _identical(results: Results) -> str:
    head = (
        "traffic",
        "canary requests an interval",
        "pods",
        "rolled back",
        "promoted",
        "held",
        "minutes to promotion",
    )
    rows = []
    for cell, chunks in results.items():
        promoted = [outcome.seconds / 60 for outcome in _ours(chunks) if outcome.end == "Promoted"]
        rows.append(
            (
                cell.traffic,
                str(cell.scale.per_interval),
                f"{cell.scale.canaries} : {cell.scale.stables}",
                _percent(*_share(chunks, "RolledBack")),
                _percent(*_share(chunks, "Promoted")),
                _percent(*_share(chunks, "Held")),
                _median(promoted, 1),
                *(_percent(*_peer_share(chunks, peer)) for peer in _PEERS),
            )
        )
    return table((*head, *_PEERS), rows)


def _degraded(results: Results) -> str:
    head = (
        "traffic",
        "fault",
        "requests an interval",
        "boundary, canary's share",
        "rolled back",
        "held",
        "promoted",
        "requests (median, p90)",
        "seconds (median, p90)",
        "SPRT: requests, seconds",
        "times SPRT",
        *(f"{peer} (seconds)" for peer in _PEERS),
    )
    return table(head, [_degraded_row(cell, chunks) for cell, chunks in results.items()])


def _degraded_row(cell: Cell, chunks: Sequence[Chunk]) -> tuple[str, ...]:
    caught = [outcome for outcome in _ours(chunks) if outcome.end == "RolledBack"]
    bounds = [chunk.bound for chunk in chunks if chunk.bound]
    boundary, share = (
        float(np.mean([getattr(bound, name) for bound in bounds])) for name in ("boundary", "share")
    )
    needed = [value for bound in bounds for value in bound.requests]
    seconds = [value for bound in bounds for value in bound.seconds]
    return (
        cell.traffic,
        cell.fault.name,
        str(cell.scale.per_interval),
        f"{boundary:.1%}, {share:.1%}",
        _percent(*_share(chunks, "RolledBack")),
        _percent(*_share(chunks, "Held")),
        _percent(*_share(chunks, "Promoted")),
        _median_p90([outcome.requests for outcome in caught]),
        _median_p90([outcome.seconds for outcome in caught]),
        f"{_median(needed)}, {_median(seconds)}" if needed else "within the margin",
        _ratio(chunks),
        *(f"{_percent(*_peer_share(chunks, peer))} ({_median(_peer(chunks, peer))})" for peer in _PEERS),
    )


def _ratio(chunks: Sequence[Chunk]) -> str:
    needed = [value for chunk in chunks if chunk.bound for value in chunk.bound.requests]
    caught = [outcome.requests for outcome in _ours(chunks) if outcome.end == "RolledBack"]
    return (
        f"{np.median(caught) / np.nanmedian(needed):.1f}"
        if needed and len(caught) * 2 > len(_ours(chunks))
        else "-"
    )


def _ours(chunks: Sequence[Chunk]) -> list[Outcome]:
    return [outcome for chunk in chunks for outcome in chunk.ours]


def _peer(chunks: Sequence[Chunk], peer: str) -> list[float]:
    return [seconds for chunk in chunks for seconds in chunk.peers[peer]]


def _share(chunks: Sequence[Chunk], end: str) -> tuple[float, int]:
    ours = _ours(chunks)
    return sum(outcome.end == end for outcome in ours) / len(ours), len(ours)


def _peer_share(chunks: Sequence[Chunk], peer: str) -> tuple[float, int]:
    seconds = _peer(chunks, peer)
    return sum(not math.isnan(value) for value in seconds) / len(seconds), len(seconds)


def _percent(share: float, count: int) -> str:
    return f"{100 * share:.1f} ± {100 * _error(share, count):.1f} %"


def _error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)


def _median(values: Sequence[float], digits: int = 0) -> str:
    seen = [value for value in values if not math.isnan(value)]
    return f"{np.median(seen):,.{digits}f}" if seen else "-"


def _median_p90(values: Sequence[float]) -> str:
    return f"{np.median(values):,.0f}, {np.quantile(values, 0.9):,.0f}" if values else "-"
