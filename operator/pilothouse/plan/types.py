"""The output of every decision: what `act` carries out and nothing more."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pilothouse.names import Reason
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.modelinfo import ModelInfo
from pilothouse.plan.observed import Object, ObjectKey


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the ModelDeployment."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one object that is reconciled.

    `objects` are full objects for server-side apply, in this order; `prunes` are live children to delete;
    `status` is the whole new status as JSON. `commits` says that the status holds a decision which must be on
    record before it is carried out: a promotion, a rollback, a counted sample. `requeue_after` says when to
    look again though nothing has happened. `serves` are the revisions that run, None where that can't be
    told. `gpus` are to be taken before anything is carried out.
    """

    objects: tuple[Object, ...]
    prunes: tuple[ObjectKey, ...]
    status: Object
    events: tuple[Event, ...]
    requeue_after: timedelta | None
    commits: bool = False
    serves: tuple[ModelInfo, ...] | None = None
    gpus: GpuNeed = field(default_factory=GpuNeed)
