"""What engines say of themselves, as numbers: the cumulative counters of one pod at one moment.

`observe` reads them from a pod's /metrics or from Prometheus; `plan` alone says what they mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Histogram:
    """A cumulative histogram: `counts[i]` observations were at most `edges[i]`; the last edge is infinite."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One pod's counters, all engines of the pod added up.

    `counters` and `gauges` are by series name without labels, but for those that differ by one label:
    `vllm:request_success_total/<finished_reason>` and `http_requests_total/<status class>` (generation paths
    only). `queries` holds the cumulative (bad, total) of each check with PromQL of its own, and only for the
    pseudo pod that stands for a whole revision, whose `pod` is empty. A series that is missing or not a
    finite number is left out.
    """

    pod: str
    """The pod's uid."""
    revision: str
    at: datetime
    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    queries: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fresh: bool = True
    """Whether it is as of `at`; what Prometheus scraped may be older."""
