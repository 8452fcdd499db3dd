"""Which of a ModelDeployment's pods belong to a revision, and which of them can be talked to."""

from collections.abc import Iterable

from pilothouse.names import REVISION
from pilothouse.plan.observed import Object


def pods_of(pods: Iterable[Object], revision: str) -> tuple[Object, ...]:
    """Those of a revision that are not being deleted."""
    return tuple(
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(REVISION) == revision
        and "deletionTimestamp" not in pod["metadata"]
    )


def is_ready(pod: Object) -> bool:
    """Tell whether the pod is ready and has an address."""
    conditions = pod["status"].get("conditions") or ()
    return "podIP" in pod["status"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )
