"""How much noisier counts are than independent requests would make them, learnt among the stable pods.

Slow requests come in runs: one full queue delays all behind it. Stable pods serve the same revision, so what
they differ by is noise, and its variance over the binomial one is the factor by which evidence is divided.
Blocks of several lengths are looked at, since runs that outlast a block are not seen in it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse.api.analysisstatus import BlockStatus
from pilothouse.plan.samples import Counts

BLOCKS: Final = (30.0, 60.0, 120.0)
"""The lengths of the blocks, in seconds."""

_MEMORY: Final = 600.0
_PRIOR: Final = 2.0
_PRIOR_DEGREES: Final = 2.0
_NONE: Final = Counts(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long each block was if it `ended` now (0 if not), and how long it is `running` otherwise."""

    ended: tuple[float, ...]
    running: tuple[float, ...]

    @property
    def all_ended(self) -> bool:
        """Whether no block is open, so that pods that are gone can be forgotten."""
        return not any(self.running)


def tick(elapsed: Sequence[float], seconds: float) -> Clock:
    """Go on by one window. With the longest block all end, so that they stay nested."""
    now = [before + seconds for before in elapsed or (0.0,) * len(BLOCKS)]
    over = [now[-1] >= BLOCKS[-1] or at >= length for at, length in zip(now, BLOCKS, strict=True)]
    return Clock(
        ended=tuple(at if end else 0.0 for at, end in zip(now, over, strict=True)),
        running=tuple(0.0 if end else round(at, 3) for at, end in zip(now, over, strict=True)),
    )


def add(
    blocks: Sequence[BlockStatus], counts: Mapping[str, Counts], pods: Sequence[str], clock: Clock
) -> tuple[BlockStatus, ...]:
    """Add one window's counts by pod; `pods` are those of the open blocks, new ones at the end."""
    grown = (_grow(block, counts, pods) for block in blocks or (BlockStatus(),) * len(BLOCKS))
    return tuple(
        _close(block, lasted) if lasted else block for block, lasted in zip(grown, clock.ended, strict=True)
    )


def _grow(block: BlockStatus, counts: Mapping[str, Counts], pods: Sequence[str]) -> BlockStatus:
    """Add to the open block. Its sums are in the order of `pods`; one that ended starts at zero."""
    bad = dict(zip(pods, block.bad, strict=False))
    total = dict(zip(pods, block.total, strict=False))
    return block.model_copy(
        update={
            "bad": tuple(bad.get(pod, 0.0) + counts.get(pod, _NONE).bad for pod in pods),
            "total": tuple(total.get(pod, 0.0) + counts.get(pod, _NONE).total for pod in pods),
        }
    )


def _close(block: BlockStatus, seconds: float) -> BlockStatus:
    """End a block that lasted `seconds`: what it says of the noise is kept, older blocks fade."""
    groups = [Counts(bad, total) for bad, total in zip(block.bad, block.total, strict=True) if total > 0]
    alone = len(groups) == 1
    # A single pod has nobody to differ from but itself: its last block stands in for a second pod.
    compared = [*groups, Counts(*block.last)] if alone and block.last else groups
    chi_squared, degrees = _deviation(compared)
    fading = math.exp(-seconds / _MEMORY)
    return BlockStatus(
        chi_squared=round(block.chi_squared * fading + chi_squared, 3),
        degrees=round(block.degrees * fading + degrees, 3),
        last=(groups[0].bad, groups[0].total) if alone else (),
    )


def factor(blocks: Sequence[BlockStatus]) -> float:
    """Return the variance of a count over the binomial one, at least 1: the largest of all block lengths."""
    return max((1.0, *(_estimate(block) for block in blocks)))


def _estimate(block: BlockStatus) -> float:
    """Average in a little prior for what has not been seen yet."""
    return (block.chi_squared + _PRIOR * _PRIOR_DEGREES) / (block.degrees + _PRIOR_DEGREES)


def _deviation(groups: Sequence[Counts]) -> tuple[float, int]:
    """Return Pearson's chi squared of counts against their common share, and its degrees of freedom."""
    total = sum(group.total for group in groups)
    bad = sum(group.bad for group in groups)
    if len(groups) < 2 or not 0 < bad < total:  # noqa: PLR2004 -- one group has nothing to differ from
        return 0.0, 0
    share = bad / total
    squares = sum((group.bad - group.total * share) ** 2 / group.total for group in groups)
    return squares / (share * (1 - share)), len(groups) - 1
