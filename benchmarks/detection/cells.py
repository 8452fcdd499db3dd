"""What is measured: cells of traffic, degradation of the canary, and canary requests an interval."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

INTERVAL = 5.0
"""Seconds between two looks."""
HISTORY = 300.0
"""Seconds for which stable is watched while the canary loads its model."""
HOLDS = (120.0, 180.0, 180.0)
"""How long each of three steps is held, in seconds."""
PATIENCE = 900.0
"""Seconds of canary traffic after which an undecided rollout counts as held."""


class Traffic(StrEnum):
    """How requests come and what they cost."""

    IID = "independent latencies"
    STEADY = "independent arrivals"
    BURSTS = "bursts"
    LOAD_STEP = "load step"
    DRIFT = "drifting prompts"


@dataclass(frozen=True)
class Fault:
    """How the canary differs: factors of prefill and decode time, added shares of errors and length stops."""

    name: str
    prefill: float = 1.0
    decode: float = 1.0
    errors: float = 0.0
    length_stops: float = 0.0


@dataclass(frozen=True)
class Scale:
    """A size of fleet: requests a second and pod, and pods; three stable pods for each canary pod."""

    per_interval: int
    rate: float
    canaries: int
    stables: int


@dataclass(frozen=True)
class Cell:
    """One cell of the table; `index` seeds it."""

    index: int
    traffic: Traffic
    fault: Fault
    scale: Scale


IDENTICAL = Fault("identical")
TTFT = tuple(Fault(f"first token x{factor:g}", prefill=factor) for factor in (1.25, 1.5, 2.0))
DECODE = (Fault("inter-token x1.5", decode=1.5),)
ERRORS = tuple(Fault(f"errors +{points} points", errors=points / 100) for points in (1, 5, 20))
LENGTH = (Fault("length stops +10 points", length_stops=0.10),)
SCALES = (Scale(10, 2.0, 1, 3), Scale(30, 3.0, 2, 6), Scale(100, 5.0, 4, 12))
LONELY = Scale(10, 2.0, 1, 1)
"""One stable pod only: nothing to learn the noise from but its own past."""


def cells() -> tuple[Cell, ...]:
    """Return all cells in the order of the report."""
    return tuple(Cell(index, *parts) for index, parts in enumerate(_parts()))


def _parts() -> Iterator[tuple[Traffic, Fault, Scale]]:
    for traffic in Traffic:
        for scale in (*SCALES, LONELY):
            yield traffic, IDENTICAL, scale
    for scale in SCALES:
        for fault in TTFT:
            yield Traffic.IID, fault, scale
        for fault in (*TTFT, *DECODE, *ERRORS, *LENGTH):
            yield Traffic.STEADY, fault, scale
        yield Traffic.BURSTS, TTFT[-1], scale
