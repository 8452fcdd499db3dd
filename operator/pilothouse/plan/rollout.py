"""What was decided: which revisions run, how many pods and how much traffic each gets, and why."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pilothouse.api.modeldeploymentstatus import RejectedRevision
from pilothouse.plan.capacity import Size
from pilothouse.plan.cause import Cause
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.record import Record, rejection_of
from pilothouse.plan.revision import Revision
from pilothouse.plan.steps import FULL

SOON: Final = timedelta(milliseconds=100)
"""When to look again after a turn."""

SCRAPE: Final = timedelta(seconds=1)
"""How often a canary is looked at."""

TURN: Final = timedelta(seconds=3)
"""How often one that waits looks whether it is its turn."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Revisions by their part.

    `target` is what the spec asks for, None where it can't be carried out; `former` are those that gave way
    and may still get requests. `weight` is the canary's, in percent. `size` holds while there is a canary.
    `gpus` are those that the whole way needs, of a rollout that runs or waits for them.
    `cause` says why the target does not serve yet, and `again` when to look again.
    """

    stable: Revision | None
    target: Revision | None
    canary: Revision | None = None
    former: tuple[Revision, ...] = ()
    weight: int = 0
    size: Size = field(default_factory=lambda: Size(0, 0))
    gpus: Gpus = field(default_factory=Gpus)
    record: Record = field(default_factory=Record)
    cause: Cause | None = None
    observed_weight: float | None = None
    again: timedelta | None = None

    @property
    def running(self) -> list[Revision]:
        """Revisions that have pods: stable first."""
        parts = (self.stable, self.canary, *self.former)
        return list({part.name: part for part in parts if part}.values())

    @property
    def weights(self) -> dict[str, int]:
        """Share of the traffic, in percent, by revision."""
        if not self.stable:
            return {}
        if not self.canary:
            return {self.stable.name: FULL}
        return {self.stable.name: FULL - self.weight, self.canary.name: self.weight}

    @property
    def serving(self) -> Revision | None:
        """The revision for callers inside the cluster, whom no route weighs."""
        return self.canary if self.weight == FULL else self.stable

    def replicas_of(self, revision: Revision, wanted: int) -> int:
        """Count the pods that a revision is to have, of `wanted` that the spec asks for."""
        if not self.canary or revision in self.former:
            return wanted
        return self.size.canary if revision == self.canary else self.size.stable

    @property
    def rejected(self) -> RejectedRevision | None:
        """Why what the spec asks for is not tried, if it failed before."""
        return rejection_of(self.record, self.target) if self.target else None

    @property
    def under_way(self) -> bool:
        """Whether what the spec asks for is not what serves."""
        return bool(self.stable and self.target and self.stable.name != self.target.name)
