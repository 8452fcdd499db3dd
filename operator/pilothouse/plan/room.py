"""How many GPUs one ModelDeployment may have at this moment, and who says so."""

from dataclasses import dataclass, field

from pilothouse.plan.cause import Cause
from pilothouse.plan.gpus import Gpus, Limits


@dataclass(frozen=True, slots=True)
class Room:
    """The GPUs that one ModelDeployment may have, what it holds included; without `most` as many as it likes.

    `limit` is the most that it could ever have, `position` its place among those that wait, and `ahead` the
    one before it. `closed` says why nothing new is admitted, whatever is free. With `queue_name` Kueue admits
    the pods.
    """

    tenant: str = ""
    most: Limits | None = None
    held: Gpus = field(default_factory=Gpus)
    limit: Limits = field(default_factory=lambda: Limits(0))
    position: int = 0
    ahead: str = ""
    closed: Cause | None = None
    queue_name: str = ""
