"""How a reconcile ends.

Done; again, after the time that it wishes; retry, after an error that may pass, with backoff; give up, after
one that won't pass until something changes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilothouse.control.queue import Priority
from pilothouse.plan.observed import ObjectKey


class Result(StrEnum):
    """How a reconcile ended; the label of a metric."""

    DONE = "done"
    AGAIN = "again"
    RETRY = "retry"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, for `again` and `retry` the seconds to wait at least, and who goes first then."""

    result: Result
    after: float = 0.0
    priority: Priority = Priority.ROUTINE


DONE: Final = Outcome(Result.DONE)

Reconciler = Callable[[ObjectKey], Awaitable[Outcome]]
"""Looks at one object and brings the cluster closer to what it declares; the object may be gone."""
