"""How many GPUs one ModelDeployment may have at this moment, and who says so."""

from dataclasses import dataclass

from pilothouse.plan.cause import Cause


@dataclass(frozen=True, slots=True)
class Room:
    """The GPUs that one ModelDeployment may have, what it holds included; without `most` as many as it likes.

    `limit` is the most that it could ever have, `position` its place among those that wait, and `ahead` the
    one before it. `excess` is how many its lane has too many, with those that it brings from another lane.
    `closed` says why nothing new is admitted, whatever is free. With `queue_name` Kueue admits the pods.
    """

    tenant: str = ""
    most: int | None = None
    held: int = 0
    limit: int = 0
    position: int = 0
    ahead: str = ""
    excess: int = 0
    closed: Cause | None = None
    queue_name: str = ""
