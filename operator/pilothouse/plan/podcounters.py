"""One pod's counters at two moments: what it did in between, and what to remember of it.

A count that falls though the engine was not restarted did not fall: a part of it was unreadable, or it is
made of several series that were not read at the very same instant. So it stays until it is exceeded.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise, zip_longest
from typing import Final

from pilothouse.api.samplingstatus import PodCounters
from pilothouse.plan import series
from pilothouse.plan.readings import Histogram, Reading
from pilothouse.plan.samples import Arm, Counts, PodSample

PROMPT_LENGTHS: Final = (100.0, 500.0, 1000.0, 2000.0, 5000.0, 20_000.0)
"""Edges, in tokens, of the coarse buckets in which prompt lengths are compared; one more is open.

They are among vLLM's, which are 1, 2, 5, 10, ... up to the model's context.
"""
_UNKNOWN: Final = -1
_MILLION: Final = 1_000_000


def tells(reading: Reading) -> bool:
    """Tell an engine's reading, or that of a whole revision, from one that says nothing."""
    return bool(reading.queries) or series.answered(reading) is not None


def counters_of(reading: Reading, counts: Mapping[str, Counts], names: Sequence[str]) -> PodCounters:
    """Return what is remembered of a reading; `names` gives the order of the checks."""
    return PodCounters(
        pod=reading.pod,
        started=round(reading.gauges.get(series.PROCESS_START, 0)),
        requests=round(series.answered(reading) or 0),
        arrived=round((series.answered(reading) or 0) + series.under_way(reading)),
        errors=round(series.errors(reading) or 0),
        prompt=round(reading.counters.get(series.PROMPT_TOKENS, _UNKNOWN)),
        generated=round(reading.counters.get(series.GENERATION_TOKENS, _UNKNOWN)),
        lengths=tuple(_lengths(reading.histograms.get(series.PROMPT_LENGTHS))),
        counts=tuple(number for name in names for number in _pair(counts.get(name))),
        cache=round(reading.gauges.get(series.CACHE_USE, 0) * _MILLION),
        busy=series.is_busy(reading) or None,
    )


def is_restarted(old: PodCounters, new: PodCounters) -> bool:
    """Tell whether the engine was started anew in between; by its counters where it does not say."""
    if old.started and new.started:
        return old.started != new.started
    return any(0 <= now < before for before, now in zip(_rising(old), _rising(new), strict=False))


def is_stuck(old: PodCounters, new: PodCounters) -> bool:
    """Tell whether it had work at both moments and did nothing in between, not even a part of a prefill."""
    return bool(old.busy and new.busy) and _progress(old) == _progress(new)


def advanced(old: PodCounters | None, new: PodCounters, warmup: int, since: datetime) -> PodCounters:
    """Return what to remember once `new` is counted; `since` is when `old` was."""
    if old is None or is_restarted(old, new):
        # Prometheus speaks of a whole revision, whose pods are not all as old.
        return new.model_copy(update={"warming": bool(new.pod and new.requests < warmup) or None})
    return new.model_copy(
        update={
            "requests": max(old.requests, new.requests),
            "arrived": max(old.arrived, new.arrived),
            "errors": max(old.errors, new.errors),
            "prompt": max(old.prompt, new.prompt),
            "generated": max(old.generated, new.generated),
            "lengths": tuple(map(max, zip_longest(old.lengths, new.lengths, fillvalue=0))),
            "counts": tuple(map(max, _padded(old.counts, new.counts), new.counts)),
            "warming": (old.warming and new.requests < warmup) or None,
            "stuck_since": (old.stuck_since or since) if is_stuck(old, new) else None,
        }
    )


def work_between(old: PodCounters, new: PodCounters, arm: Arm, names: Sequence[str]) -> PodSample:
    """Return what the pod did; a check that one of the two does not know is left out."""
    pairs = zip(
        names,
        _pairs(_padded(old.counts, new.counts)),
        _pairs(new.counts),
        strict=True,
    )
    return PodSample(
        pod=new.pod,
        arm=arm,
        counts={name: _grown(*both) for name, *both in pairs if _UNKNOWN not in (both[0][1], both[1][1])},
        requests=max(0, new.requests - old.requests),
        prompt_tokens=_rise(old.prompt, new.prompt),
        generation_tokens=_rise(old.generated, new.generated),
        prompt_lengths=tuple(
            max(0, now - before) for before, now in zip(old.lengths, new.lengths, strict=False)
        ),
        arrivals=max(0, new.arrived - old.arrived),
    )


def _lengths(histogram: Histogram | None) -> Iterator[int]:
    if histogram is None or not histogram.edges:
        return
    at_most = [0.0, *(_at_most(histogram, edge) for edge in PROMPT_LENGTHS), histogram.counts[-1]]
    for below, here in pairwise(at_most):
        yield round(here - below)


def _at_most(histogram: Histogram, edge: float) -> float:
    """Count up to an edge; where the engine has it not, its context ends before it."""
    return next(
        count for bound, count in zip(histogram.edges, histogram.counts, strict=True) if bound >= edge
    )


def _pair(counts: Counts | None) -> tuple[int, int]:
    return (round(counts.bad), round(counts.total)) if counts else (_UNKNOWN, _UNKNOWN)


def _pairs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def _padded(old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """Give checks that are new a place in what was remembered; checks are only ever added at the end."""
    return (*old, *[_UNKNOWN] * (len(new) - len(old)))


def _rising(pod: PodCounters) -> tuple[int, ...]:
    return (pod.prompt, pod.generated, sum(pod.lengths) if pod.lengths else _UNKNOWN, *pod.counts[1::2])


def _progress(pod: PodCounters) -> tuple[int, ...]:
    return (pod.requests, pod.prompt, pod.generated, pod.cache)


def _rise(old: int, new: int) -> int:
    return max(0, new - old) if _UNKNOWN not in (old, new) else 0


def _grown(old: tuple[int, int], new: tuple[int, int]) -> Counts:
    bad, total = (max(0, now - before) for before, now in zip(old, new, strict=True))
    return Counts(min(bad, total), total)
