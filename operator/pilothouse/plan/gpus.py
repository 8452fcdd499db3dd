"""GPUs, counted together and by the lane of their pods.

Both are needed: who goes into another lane may have its GPUs already, and no right to use them there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one ModelDeployment. Where those of one lane become those of another, each lane counts them."""

    total: int = 0
    lanes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def counted(cls, parts: Iterable[tuple[str, int]]) -> Self:
        """Add up GPUs of several lanes."""
        lanes: dict[str, int] = {}
        for lane, gpus in parts:
            lanes[lane] = lanes.get(lane, 0) + gpus
        return cls(sum(lanes.values()), lanes)

    def within(self, lane: str) -> int:
        """Return those of one lane."""
        return self.lanes.get(lane, 0)

    def beyond(self, other: "Gpus") -> int:
        """Return how many these are more, together or in the lane where that is most."""
        more = (gpus - other.within(lane) for lane, gpus in self.lanes.items())
        return max(0, self.total - other.total, *more)

    def __or__(self, other: "Gpus") -> "Gpus":
        """Return the larger of both, together and in each lane."""
        lanes = {lane: max(self.within(lane), other.within(lane)) for lane in {**self.lanes, **other.lanes}}
        return Gpus(max(self.total, other.total), lanes)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most GPUs, together and by lane. `elsewhere` are those of pods that no claim stands for."""

    total: int
    lanes: Mapping[str, int] = field(default_factory=dict)
    elsewhere: int = 0

    def of(self, lane: str) -> int:
        """Return the most that one lane may have."""
        return min(self.total, self.lanes.get(lane, self.total))

    def less(self, taken: Gpus) -> "Limits":
        """Return what is left of them."""
        lanes = {lane: most - taken.within(lane) for lane, most in self.lanes.items()}
        return Limits(self.total - taken.total, lanes)
