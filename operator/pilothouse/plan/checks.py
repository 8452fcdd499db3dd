"""What is counted: the checks of a lane and a policy, and how a reading answers each of them.

A latency is judged at an edge of the engine's own buckets, the nearest at or above the threshold, so that no
request that was fast enough counts as slow. A request that found the queue full waited in vain: it is slow in
every latency of requests, which are judged under like load only, and no error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final

from pilothouse.api.queueclass import Objective, ObjectiveMetric, QueueClass
from pilothouse.api.rolloutpolicy import Analysis, CheckMetric
from pilothouse.api.rolloutpolicy import Check as PolicyCheck
from pilothouse.plan import series
from pilothouse.plan.readings import Reading
from pilothouse.plan.samples import Check, Counts

_NAMES: Final = {
    ObjectiveMetric.TIME_TO_FIRST_TOKEN: "time-to-first-token",
    ObjectiveMetric.INTER_TOKEN_LATENCY: "inter-token-latency",
    ObjectiveMetric.END_TO_END_LATENCY: "end-to-end-latency",
    ObjectiveMetric.QUEUE_TIME: "queue-time",
    ObjectiveMetric.SUCCESS: "success",
}
_HISTOGRAMS: Final = {
    ObjectiveMetric.TIME_TO_FIRST_TOKEN: series.FIRST_TOKEN,
    ObjectiveMetric.INTER_TOKEN_LATENCY: series.INTER_TOKEN,
    ObjectiveMetric.END_TO_END_LATENCY: series.END_TO_END,
    ObjectiveMetric.QUEUE_TIME: series.QUEUE_TIME,
}
_NEARLY: Final = 1 - 1e-9
"""An edge that a decimal threshold names is met in spite of binary fractions."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """A check, how a reading answers it, and the edge at which it does; None where the reading can't."""

    check: Check
    count: Callable[[Reading], Counts | None]
    edge: Callable[[Reading], float | None]


def checks_of(queue_class: QueueClass, analysis: Analysis) -> tuple[Check, ...]:
    """List the checks of a rollout: the lane's objectives, then the policy's own; names are unique."""
    return tuple(measure.check for measure in _measures(queue_class, analysis))


def counts_of(reading: Reading, queue_class: QueueClass, analysis: Analysis) -> Mapping[str, Counts]:
    """Count each check's events since the engine started, by name; what can't be read is left out."""
    counted = {measure.check.name: measure.count(reading) for measure in _measures(queue_class, analysis)}
    return {name: counts for name, counts in counted.items() if counts}


def counter_of(
    readings: Sequence[Reading], queue_class: QueueClass, analysis: Analysis
) -> Callable[[Reading], Mapping[str, Counts]]:
    """Return `counts_of` for readings that are compared with each other.

    A latency that their buckets would judge at different edges is left out: the shares would not be alike.
    """
    alike = [
        measure
        for measure in _measures(queue_class, analysis)
        if len({edge for reading in readings if (edge := measure.edge(reading))}) <= 1
    ]

    def counter(reading: Reading) -> Mapping[str, Counts]:
        counted = {measure.check.name: measure.count(reading) for measure in alike}
        return {name: counts for name, counts in counted.items() if counts}

    return counter


def definition_of(queue_class: QueueClass, analysis: Analysis) -> str:
    """Digest what the checks mean (16 hex digits): counts of two definitions can't be compared."""
    parts = [entry.model_dump_json() for entry in (*queue_class.spec.objectives, *analysis.checks)]
    return sha256("\n".join([analysis.source, *parts]).encode()).hexdigest()[:16]


def _measures(queue_class: QueueClass, analysis: Analysis) -> list[_Measure]:
    objectives = queue_class.spec.objectives
    found = [_objective(objective, _name(objective, objectives)) for objective in objectives]
    found += [_policy_check(check) for check in analysis.checks]
    names = _unique([measure.check.name for measure in found])
    return [
        replace(measure, check=replace(measure.check, name=name))
        for measure, name in zip(found, names, strict=True)
    ]


def _name(objective: Objective, objectives: Sequence[Objective]) -> str:
    name = _NAMES[objective.metric]
    alone = sum(other.metric == objective.metric for other in objectives) == 1
    return name if alone else f"{name}-{objective.threshold or objective.ratio}"


def _unique(names: list[str]) -> Iterator[str]:
    for index, name in enumerate(names):
        before = names[:index].count(name)
        yield f"{name}-{before + 1}" if before else name


def _objective(objective: Objective, name: str) -> _Measure:
    allowed = 1 - objective.ratio
    if objective.threshold is None:
        return _Measure(Check(name, allowed, compares_load=False, objective=allowed), _success, _no_edge)
    histogram, seconds = _HISTOGRAMS[objective.metric], objective.threshold.seconds
    note = _note(objective.threshold, seconds, _edge_at(series.EDGES[histogram], seconds))
    return _Measure(
        Check(name, allowed, compares_load=True, objective=allowed, note=note),
        partial(_slower, histogram, seconds),
        partial(_edge, histogram, seconds),
    )


def _policy_check(check: PolicyCheck) -> _Measure:
    loaded = check.metric is CheckMetric.PREEMPTION
    count = _BUILT_IN[check.metric] if check.metric else partial(_queried, check.name)
    return _Measure(Check(check.name, check.max_increase, compares_load=loaded), count, _no_edge)


def _note(threshold: str, seconds: float, edge: float) -> str:
    if edge >= seconds * _NEARLY:
        return "" if edge * _NEARLY <= seconds else f"judged at {edge:g}s, the bucket edge above {threshold}"
    return f"judged at {edge:g}s, the last bucket edge, below {threshold}"


def _edge_at(edges: Sequence[float], seconds: float) -> float:
    """Return the edge at which a threshold is judged; `edges` are finite and rise."""
    return next((edge for edge in edges if edge >= seconds * _NEARLY), edges[-1])


def _edge(name: str, seconds: float, reading: Reading) -> float | None:
    histogram = reading.histograms.get(name)
    finite = histogram.edges[:-1] if histogram else ()
    return _edge_at(finite, seconds) if finite else None


def _no_edge(_: Reading) -> None:
    return None


def _slower(name: str, seconds: float, reading: Reading) -> Counts | None:
    edge = _edge(name, seconds, reading)
    if edge is None:
        return None
    histogram = reading.histograms[name]
    total, in_time = histogram.counts[-1], histogram.counts[histogram.edges.index(edge)]
    in_vain = 0.0 if name == series.INTER_TOKEN else series.refused(reading)
    return Counts(total - in_time + in_vain, total + in_vain)


def _success(reading: Reading) -> Counts | None:
    """Errors among the requests that were not called off: what a client calls off is no fault.

    4xx answers are the client's own, and what a full queue refuses is load: neither is counted.
    """
    errors, good = series.errors(reading), series.finished(reading, "stop", "length", "repetition")
    return None if errors is None or good is None else Counts(errors, good + errors)


def _cut_at_the_cap(reading: Reading) -> Counts | None:
    bad, total = (
        series.finished(reading, "length"),
        series.finished(reading, "stop", "length", "repetition"),
    )
    return None if bad is None or total is None else Counts(bad, total)


def _preempted(reading: Reading) -> Counts | None:
    bad, total = reading.counters.get(series.PREEMPTIONS), series.finished(reading, *series.REASONS)
    return None if bad is None or total is None else Counts(min(bad, total), total)


def _queried(name: str, reading: Reading) -> Counts | None:
    found = reading.queries.get(name)
    return Counts(*found) if found else None


_BUILT_IN: Final[Mapping[CheckMetric, Callable[[Reading], Counts | None]]] = {
    CheckMetric.FINISH_REASON_LENGTH: _cut_at_the_cap,
    CheckMetric.PREEMPTION: _preempted,
}
