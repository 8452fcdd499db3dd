"""What the sequential test remembers between two samples; see plan/analysis.py.

A status is written every few seconds, so it holds sums and never the samples themselves.
"""

from typing import Annotated

from pydantic import Field

from pilothouse.api.common import Status
from pilothouse.api.rules import list_map


class ComparisonStatus(Status):
    """Canary against stable, weighted alike in every window, so that a change of load or share cancels."""

    canary: float = 0.0
    """The sum over the windows of weight times the canary's share of bad events."""
    stable: float = 0.0
    """The sum over the windows of weight times stable's share of bad events."""
    weight: float = 0.0
    """The sum of the weights: canary events times stable events over all events."""


class BlockStatus(Status):
    """How much more pods differ than independent requests would make them, in blocks of one length."""

    chi_squared: float = 0.0
    """The sum of the pods' squared deviations from their common share, in units of a binomial variance."""
    degrees: float = 0.0
    """What independent requests would give for `chiSquared`: its degrees of freedom."""
    bad: tuple[float, ...] = ()
    """The bad events of the current block, pod by pod in the order of `pods`."""
    total: tuple[float, ...] = ()
    """All events of the current block, pod by pod in the order of `pods`."""
    last: tuple[float, ...] = ()
    """Bad and all events of the last block, where there was one pod only."""


class CheckAnalysisStatus(Status):
    """What the test remembers of one check."""

    name: str
    """The check's name."""
    canary_bad: float = 0.0
    """The canary's bad events."""
    canary_total: float = 0.0
    """The canary's events."""
    stable_bad: float = 0.0
    """Stable's bad events in the same windows."""
    stable_total: float = 0.0
    """Stable's events in the same windows."""
    alone_bad: float = 0.0
    """The canary's bad events of this step in windows in which stable had no events."""
    alone_total: float = 0.0
    """The canary's events in the same windows."""
    rollout: ComparisonStatus = ComparisonStatus()
    """The comparison since the rollout began."""
    step: ComparisonStatus = ComparisonStatus()
    """The comparison since the current step began."""
    requests: float = 0.0
    """The canary's requests in these windows: fewer than its events where a request has several."""
    stable_blocks: tuple[BlockStatus, ...] = ()
    """The over-dispersion among the stable pods, by block length."""
    canary_blocks: tuple[BlockStatus, ...] = ()
    """The over-dispersion of the canary from one block to the next, by block length."""
    unread: int = 0
    """How many samples in a row had canary pods but no measurement of this check."""


class LoadStatus(Status):
    """What the pods of one arm worked of late; older windows fade."""

    arrivals: float = 0.0
    """Requests that came, ended or not."""
    seconds: float = 0.0
    """Seconds of all its pods together."""


class ArmStatus(Status):
    """What one arm got."""

    requests: float = 0.0
    """Its requests since the step began."""
    prompt_lengths: tuple[float, ...] = ()
    """The same, by the bucket of their prompt length."""
    load: LoadStatus = LoadStatus()
    """Its load of late."""


class AnalysisStatus(Status):
    """The state of the test, small enough for a status."""

    steps: int = 0
    """How many steps have begun."""
    pods: tuple[str, ...] = ()
    """The stable pods of the current blocks."""
    seconds: tuple[float, ...] = ()
    """How far the current block of each length has come."""
    canary: ArmStatus = ArmStatus()
    """What the canary got."""
    stable: ArmStatus = ArmStatus()
    """What stable got."""
    checks: Annotated[tuple[CheckAnalysisStatus, ...], Field(json_schema_extra=list_map("name"))] = ()
    """What the test remembers, check by check."""
