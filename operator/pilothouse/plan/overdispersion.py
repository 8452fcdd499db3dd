"""How much noisier counts are than independent requests would make them, learnt among the stable pods.

Slow requests come in runs: one full queue delays all behind it. Stable pods serve the same revision, so what
they differ by is noise, and its variance over the binomial one is the factor by which evidence is divided.
Blocks of several lengths are looked at, since runs that outlast a block are not seen in it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

from pilothouse.api.analysisstatus import BlockStatus
from pilothouse.plan.samples import Counts

BLOCKS: Final = (30.0, 60.0, 120.0)
"""The lengths of the blocks, in seconds."""

_MEMORY: Final = 600.0
_PRIOR_DEGREES: Final = 1.0
_CHAIN_DEGREES: Final = 16.0
_DOUBT: Final = 14.0
_DOUBT_DEGREES: Final = 4.0
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
    """Go on by one window. A block ends only where the shorter one does, so that they are nested."""
    ended, running, inner = [], [], True
    for before, length in zip(elapsed or (0.0,) * len(BLOCKS), BLOCKS, strict=True):
        now = round(before + seconds, 3)
        inner = inner and now >= length
        ended.append(now if inner else 0.0)
        running.append(0.0 if inner else now)
    return Clock(tuple(ended), tuple(running))


def add(
    blocks: Sequence[BlockStatus], counts: Mapping[str, Counts], pods: Sequence[str], clock: Clock
) -> tuple[BlockStatus, ...]:
    """Add one window's counts by pod; `pods` are those of the longest open block, new ones at the end."""
    carried = tuple(counts.get(pod, _NONE) for pod in pods)
    added = []
    for before, lasted in zip(blocks or (BlockStatus(),) * len(BLOCKS), clock.ended, strict=True):
        block = _grow(before, carried) if carried else before
        carried = _groups(block) if lasted else ()
        added.append(_close(block, lasted) if lasted else block)
    return tuple(added)


def _grow(block: BlockStatus, counts: Sequence[Counts]) -> BlockStatus:
    """Add what the next shorter block, or the window, had pod by pod."""
    so_far = chain(_groups(block), repeat(_NONE))
    new = [(old.bad + count.bad, old.total + count.total) for old, count in zip(so_far, counts, strict=False)]
    return BlockStatus(
        chi_squared=block.chi_squared,
        degrees=block.degrees,
        bad=tuple(bad for bad, _ in new),
        total=tuple(total for _, total in new),
        last=block.last,
    )


def _groups(block: BlockStatus) -> tuple[Counts, ...]:
    return tuple(Counts(bad, total) for bad, total in zip(block.bad, block.total, strict=True))


def _close(block: BlockStatus, seconds: float) -> BlockStatus:
    """End a block that lasted `seconds`: what it says of the noise is kept, older blocks fade."""
    groups = [group for group in _groups(block) if group.total > 0]
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


def factor(stable: Sequence[BlockStatus], canary: Sequence[BlockStatus], prior: float) -> float:
    """Return the variance of a count over the binomial one: the largest of all block lengths, at least 1.

    Each estimate starts from the one before it, the first from `prior`, so that few blocks move it little.
    """
    estimate = _estimate(stable[0], prior, _PRIOR_DEGREES) if stable else prior
    largest = max(1.0, estimate)
    for block in (*stable[1:], *canary):
        estimate = _estimate(block, estimate, _CHAIN_DEGREES)
        largest = max(largest, estimate)
    return largest


def doubted(factor: float, stable: Sequence[BlockStatus], canary: Sequence[BlockStatus]) -> float:
    """Take what exceeds 1 for more while few blocks have been seen: one burst must not convict a canary."""
    known = sum(blocks[0].degrees for blocks in (stable, canary) if blocks)
    return 1 + (factor - 1) * (1 + _DOUBT / (known + _DOUBT_DEGREES))


def _estimate(block: BlockStatus, before: float, degrees: float) -> float:
    return (block.chi_squared + before * degrees) / (block.degrees + degrees)


def _deviation(groups: Sequence[Counts]) -> tuple[float, int]:
    """Return Pearson's chi squared of counts against their common share, and its degrees of freedom."""
    total = sum(group.total for group in groups)
    bad = sum(group.bad for group in groups)
    if len(groups) < 2 or not 0 < bad < total:  # noqa: PLR2004 -- one group has nothing to differ from
        return 0.0, 0
    share = bad / total
    squares = sum((group.bad - group.total * share) ** 2 / group.total for group in groups)
    return squares / (share * (1 - share)), len(groups) - 1
