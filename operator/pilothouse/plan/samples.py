"""What happened between two readings, pod by pod: the input of the analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Arm(StrEnum):
    """The side that a pod is on."""

    CANARY = "Canary"
    STABLE = "Stable"


@dataclass(frozen=True, slots=True)
class Counts:
    """Events of one check: how many, and how many of them were bad."""

    bad: float
    total: float


@dataclass(frozen=True, slots=True)
class PodSample:
    """What one pod did since it was read last, warm-up left out.

    `counts` is by the check's name; a check that could not be read is left out. `prompt_lengths` counts
    requests by the bucket of their prompt length (not cumulative). `arrivals` counts requests that came,
    ended or not: a pod that drowns ends few of them.
    """

    pod: str
    arm: Arm
    counts: Mapping[str, Counts] = field(default_factory=dict)
    requests: float = 0.0
    prompt_tokens: float = 0.0
    generation_tokens: float = 0.0
    prompt_lengths: tuple[float, ...] = ()
    arrivals: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of both arms: its end, its length, and what each pod did in it.

    `canary_ready` and `stable_ready` count the ready pods of each arm, those that were not read included.
    """

    at: datetime
    seconds: float
    pods: tuple[PodSample, ...]
    canary_ready: int
    stable_ready: int


@dataclass(frozen=True, slots=True)
class Check:
    """One check: a share of bad events that the canary may exceed stable's by `margin`, 0 to 1.

    `compares_load` is true for latencies: they prove something only under like load. `objective` is the share
    of bad events that the lane allows, None where the check is a comparison only. `note` says how a threshold
    was rounded to a bucket's edge.
    """

    name: str
    margin: float
    compares_load: bool
    objective: float | None = None
    note: str = ""
