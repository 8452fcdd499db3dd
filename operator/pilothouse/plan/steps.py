"""The steps of a policy as numbers: what weight each one means, and what capacity it needs.

Step 0 comes before the first one, where pods start; the step after the last one is the promotion.
"""

from collections.abc import Sequence
from typing import Final

from pilothouse.api.rolloutpolicy import Step

FULL: Final = 100
"""All of the traffic, in percent."""


def promotion(steps: Sequence[Step]) -> int:
    """Return the number of the promotion."""
    return len(steps) + 1


def comes_promotion(steps: Sequence[Step], number: int) -> bool:
    """Say whether the promotion comes after this step, or is under way."""
    return number + 1 >= promotion(steps)


def weight_at(steps: Sequence[Step], number: int) -> int:
    """Return the weight that a step stays at: its own, else that of the last step before it that has one."""
    if number >= promotion(steps):
        return FULL
    return next((step.weight for step in reversed(steps[:number]) if step.weight), 0)


def capacity_at(steps: Sequence[Step], number: int) -> int:
    """Return the weight for which a step needs pods: before the first weight, that of the first ahead."""
    return weight_at(steps, number) or next((step.weight for step in steps if step.weight), FULL)
