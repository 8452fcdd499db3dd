"""The other ModelDeployments, as far as a rollout depends on them."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pilothouse.names import Reason


class CheckpointKey(NamedTuple):
    """Names one revision of one checkpoint, whoever serves it."""

    source: str
    revision: str


class FailedCheckpoint(NamedTuple):
    """A checkpoint that a ModelDeployment rolled back, and why."""

    checkpoint: CheckpointKey
    reason: Reason


@dataclass(frozen=True, slots=True)
class Peer:
    """One other ModelDeployment.

    `policy` is the RolloutPolicy's name, empty for the built-in one; `priority` that of its lane.
    `queued_since` is set while it waits for its turn; `rolls_out` while a rollout of it runs that has the
    room it needs.
    """

    namespace: str
    name: str
    policy: str
    priority: int
    queued_since: datetime | None = None
    rolls_out: bool = False
    failed: tuple[FailedCheckpoint, ...] = ()
