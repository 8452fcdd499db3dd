"""From samples of single series to the reading of one pod: the series that are needed, all engines added up.

The names are those of vLLM 0.32 and of prometheus-fastapi-instrumentator in it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from pilothouse.names import REVISION
from pilothouse.plan.observed import Object
from pilothouse.plan.readings import Histogram, Reading

_REQUESTS: Final = "http_requests_total"
_TOLD_APART: Final = {"vllm:request_success_total": "finished_reason", _REQUESTS: "status"}
"""Counters of which one label matters."""
_COUNTERS: Final = (
    *_TOLD_APART,
    "vllm:admission_rejections_total",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
)
_HIGHEST: Final = ("vllm:kv_cache_usage_perc", "process_start_time_seconds")
"""Gauges that can't be added up: of several engines the fullest counts, of several processes the youngest."""
_GAUGES: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting", *_HIGHEST)
_HISTOGRAMS: Final = (
    "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_prompt_tokens",
)
_BUCKET: Final = "_bucket"
_GENERATION_PATHS: Final = frozenset({"/v1/completions", "/v1/chat/completions"})

NAMES: Final = (*_COUNTERS, *_GAUGES, *(f"{name}{_BUCKET}" for name in _HISTOGRAMS))
"""The full names of the series that are needed, as Prometheus has them."""


class Sample(NamedTuple):
    """One series at one moment."""

    name: str
    labels: Mapping[str, str]
    value: float


def reading_of(pod: Object, at: datetime, samples: Iterable[Sample]) -> Reading:
    """Add up the engines of one pod; what is not a finite number for one of them is left out.

    Raises ValueError for a bucket without an edge.
    """
    values: defaultdict[str, list[float]] = defaultdict(list)
    buckets: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.name.endswith(_BUCKET):
            name = sample.name.removesuffix(_BUCKET)
            buckets[name][float(sample.labels.get("le", ""))].append(sample.value)
        elif key := _key_of(sample):
            values[key].append(sample.value)
    totals = {
        key: max(each) if key in _HIGHEST else math.fsum(each)
        for key, each in values.items()
        if all(map(math.isfinite, each))
    }
    histograms = {name: _histogram(edges) for name, edges in buckets.items()}
    return Reading(
        pod=pod["metadata"]["uid"],
        revision=pod["metadata"]["labels"][REVISION],
        at=at,
        counters={key: total for key, total in totals.items() if key not in _GAUGES},
        gauges={key: total for key, total in totals.items() if key in _GAUGES},
        histograms={name: histogram for name, histogram in histograms.items() if histogram},
    )


def _key_of(sample: Sample) -> str:
    """Name the number that a sample is part of; empty for another path's requests."""
    if sample.name == _REQUESTS and sample.labels.get("handler") not in _GENERATION_PATHS:
        return ""
    label = _TOLD_APART.get(sample.name)
    return f"{sample.name}/{sample.labels.get(label, '')}" if label else sample.name


def _histogram(buckets: Mapping[float, list[float]]) -> Histogram | None:
    """Return None where engines differ in buckets, a count is no number, or no bucket is infinite."""
    edges = sorted(buckets)
    counts = [buckets[edge] for edge in edges]
    totals = tuple(map(math.fsum, counts))
    alike = len(set(map(len, counts))) == 1
    if not alike or edges[-1] != math.inf or not all(map(math.isfinite, totals)):
        return None
    return Histogram(tuple(edges), totals)
