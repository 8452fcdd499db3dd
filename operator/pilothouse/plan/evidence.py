"""What a comparison of canary and stable proves: a mixture of likelihood ratios, valid at every look.

Each ratio sets one alternative against the boundary, a canary exactly `margin` worse than stable. Under the
boundary the mixture's mean never exceeds 1, so that it ever reaches 1/a has a probability of at most a
(Ville's inequality), however often one looks. Events that depend on each other count as fewer: their number
is divided by the over-dispersion.
"""

import math
from dataclasses import dataclass
from typing import Final

from pilothouse.api.analysisstatus import ComparisonStatus
from pilothouse.plan.samples import Counts

_ODDS: Final = (1.6, 2.2, 4.0, 12.0)
"""The alternatives: by how much the odds of a bad event differ from those at the boundary."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms of the evidence that the canary is worse than the boundary, and that it is better."""

    worse: float
    better: float


def add(comparison: ComparisonStatus, canary: Counts, stable: Counts) -> ComparisonStatus:
    """Add one window, weighted as in a Mantel-Haenszel test: neither share nor level need stay the same."""
    both = canary.total + stable.total
    if canary.total <= 0 or stable.total <= 0:
        return comparison
    return ComparisonStatus(
        canary=round(comparison.canary + canary.bad * stable.total / both, 3),
        stable=round(comparison.stable + stable.bad * canary.total / both, 3),
        weight=round(comparison.weight + canary.total * stable.total / both, 3),
    )


def weigh(comparison: ComparisonStatus, margin: float, overdispersion: float) -> Evidence:
    """Return what the comparison proves about a canary that may be `margin` (a share) worse than stable."""
    if comparison.weight <= 0:
        return Evidence(0.0, 0.0)
    boundary = min(comparison.stable / comparison.weight + margin, 1 - 1e-6)
    events = comparison.weight / overdispersion
    bad = min(comparison.canary, comparison.weight) / overdispersion
    return Evidence(
        worse=_mixture([_ratio(bad, events, boundary, odds) for odds in _ODDS]),
        better=_mixture([_ratio(bad, events, boundary, 1 / odds) for odds in _ODDS]),
    )


def _ratio(bad: float, events: float, boundary: float, odds: float) -> float:
    """Return the log likelihood ratio of a share whose odds are `odds` times those of the boundary."""
    scale = 1 - boundary + odds * boundary
    return bad * math.log(odds) - events * math.log(scale)


def _mixture(logs: list[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs) / len(logs))
