"""Whether the two arms can be compared by latency: like load per pod, and like prompts."""

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from pilothouse.api.analysisstatus import ArmStatus, LoadStatus
from pilothouse.plan.samples import PodSample

_MEMORY: Final = 60.0
"""Load is looked at over about this many seconds: long enough to be a mean, short enough to see a change."""

_LOAD_BAND: Final = 1.5
"""Beyond this factor, either way, loads are unlike."""

_DEVIATIONS: Final = 2.0
_FEWEST_REQUESTS: Final = 20
_LENGTHS_DISTANCE: Final = 0.1
_LENGTHS_DEVIATIONS: Final = 4.0


def add(arm: ArmStatus, pods: Sequence[PodSample], ready: int, seconds: float) -> ArmStatus:
    """Add one window of `seconds`; `ready` pods share what is known of all of the arm together."""
    lengths = [pod.prompt_lengths for pod in pods]
    named = sum(1 for pod in pods if pod.pod)
    sharing = named if named or not pods else ready
    fading = math.exp(-seconds / _MEMORY)
    load = LoadStatus(
        arrivals=round(arm.load.arrivals * fading + sum(pod.arrivals for pod in pods), 3),
        seconds=round(arm.load.seconds * fading + sharing * seconds, 3),
    )
    return ArmStatus(
        requests=arm.requests + sum(pod.requests for pod in pods),
        prompt_lengths=_sums([arm.prompt_lengths, *lengths]),
        load=load,
    )


def unlike_load(canary: LoadStatus, stable: LoadStatus) -> str:
    """Say how load per pod clearly differs, "" where it is alike.

    What arrives is compared, not what is done: a canary that drowns does less for being slow.
    """
    if not canary.seconds:
        return ""
    if not (stable.seconds and stable.arrivals):
        return "LoadImbalance: stable has no requests of late" if canary.arrivals else ""
    ours, theirs = canary.arrivals, stable.arrivals * canary.seconds / stable.seconds
    if not _outside(ours, theirs):
        return ""
    return f"LoadImbalance: a canary pod gets {ours / theirs:.2f} times the requests of a stable pod"


def _outside(ours: float, theirs: float) -> bool:
    """Allow for chance: few requests differ by more than the band."""
    least, most = theirs / _LOAD_BAND, theirs * _LOAD_BAND
    return ours < least - _DEVIATIONS * math.sqrt(least) or ours > most + _DEVIATIONS * math.sqrt(most)


def unlike_prompts(canary: Sequence[float], stable: Sequence[float]) -> str:
    """Say how the prompts' lengths differ, "" where they agree: requests are split at random."""
    ours, theirs = sum(canary), sum(stable)
    if min(ours, theirs) < _FEWEST_REQUESTS:
        return ""
    pairs = list(zip_longest(canary, stable, fillvalue=0.0))
    distance = sum(abs(a / ours - b / theirs) for a, b in pairs) / 2
    if distance <= _LENGTHS_DISTANCE or _deviations(pairs, ours, theirs) <= _LENGTHS_DEVIATIONS:
        return ""
    return f"PromptLengths: {distance:.0%} of the canary's prompts have other lengths than stable's"


def _deviations(pairs: Iterable[tuple[float, float]], ours: float, theirs: float) -> float:
    """How many standard deviations a test of homogeneity is from what like prompts give."""
    seen = [(a, b) for a, b in pairs if a + b > 0]
    degrees = len(seen) - 1
    if degrees < 1:
        return 0.0
    chi_squared = sum((a * theirs - b * ours) ** 2 / (a + b) for a, b in seen) / (ours * theirs)
    # Wilson and Hilferty: the cube root of chi squared is nearly normal.
    spread = 2 / (9 * degrees)
    return float(((chi_squared / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def _sums(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(column) for column in zip_longest(*rows, fillvalue=0.0))
