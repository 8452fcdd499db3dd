"""Engines that count, for tests of what is made of their counters."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime

from builders import NOW
from pilothouse.plan import series
from pilothouse.plan.readings import Histogram, Reading

CANARY, STABLE = "c0ffee0123", "57ab1e0123"
_LENGTHS = (100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0)


def histogram(edges: tuple[float, ...], values: list[float]) -> Histogram:
    """A cumulative histogram of these values."""
    bounds, ordered = (*edges, math.inf), sorted(values)
    return Histogram(bounds, tuple(float(bisect_right(ordered, bound)) for bound in bounds))


@dataclass
class Engine:
    """One pod's engine; what it counts starts at nothing, and does so again at each restart."""

    pod: str = "pod-1"
    revision: str = CANARY
    started: float = 1_000.0
    counters: dict[str, float] = field(default_factory=dict)
    running: int = 0
    waiting: int = 0
    cache: float = 0.0
    first_tokens: list[float] = field(default_factory=list)
    prompts: list[float] = field(default_factory=list)

    def add(self, name: str, number: float = 1) -> None:
        """Count something."""
        self.counters[name] = self.counters.get(name, 0.0) + number

    def serve(self, requests: int = 1, seconds: float = 0.1, reason: str = "stop", prompt: int = 400) -> None:
        """Finish requests, with their first token after so many seconds."""
        self.add(f"{series.FINISHED}/{reason}", requests)
        self.add(f"{series.HTTP_REQUESTS}/2xx", requests)
        self.add(series.PROMPT_TOKENS, prompt * requests)
        self.add(series.GENERATION_TOKENS, 30 * requests)
        self.first_tokens += [seconds] * requests
        self.prompts += [prompt] * requests

    def fail(self, requests: int = 1) -> None:
        """Answer 500 before the engine has seen the request."""
        self.add(f"{series.HTTP_REQUESTS}/5xx", requests)

    def refuse(self, requests: int = 1) -> None:
        """Answer 503 since the queue is full."""
        self.add(f"{series.HTTP_REQUESTS}/5xx", requests)
        self.add(series.REFUSED, requests)

    def restart(self, at: float = 2_000.0) -> None:
        """Begin anew."""
        self.started = at
        self.counters, self.first_tokens, self.prompts = {}, [], []

    def reading(self, at: datetime = NOW) -> Reading:
        """What a scrape finds; an engine that serves has its own counters from the start, at 0."""
        own = dict.fromkeys((f"{series.FINISHED}/{reason}" for reason in series.REASONS), 0.0)
        own |= dict.fromkeys((series.PROMPT_TOKENS, series.GENERATION_TOKENS, series.PREEMPTIONS), 0.0)
        return Reading(
            pod=self.pod,
            revision=self.revision,
            at=at,
            counters=own | self.counters,
            gauges={
                series.RUNNING: float(self.running),
                series.WAITING: float(self.waiting),
                series.CACHE_USE: self.cache,
                series.PROCESS_START: self.started,
            },
            histograms={
                series.FIRST_TOKEN: histogram(series.EDGES[series.FIRST_TOKEN], self.first_tokens),
                series.PROMPT_LENGTHS: histogram(_LENGTHS, self.prompts),
            },
        )
