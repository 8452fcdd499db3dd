"""What a pod's status says of its engine: whether it is there, served, ended or fell silent."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pilothouse.names import ENGINE_CONTAINER, FETCH_CONTAINER, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object

_OVERDUE = timedelta(minutes=1)
"""How long after the end of its grace period a pod counts as gone; `deletionTimestamp` is that end."""

NEVER_STARTED = "StartError"
"""Reason of an end that the runtime reports where it could not start the container's program at all."""


def is_gone(pod: Object) -> bool:
    """Tell a pod that is deleted or was evicted or rejected: another has taken its place."""
    return "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") == "Failed"


def is_overdue(pod: Object, now: datetime) -> bool:
    """Tell a deleted pod that should have ended: a node that fell silent never says that one is gone."""
    ends = pod["metadata"].get("deletionTimestamp")
    return ends is not None and now - datetime.fromisoformat(ends) > _OVERDUE


def engine_status(pod: Object) -> Object:
    """Return the kubelet's word on the engine's container, empty before there is one."""
    statuses: list[Object] = pod["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == ENGINE_CONTAINER), {})


def fetch_status(pod: Object) -> Object:
    """Return the kubelet's word on the container that fetches, empty before there is one."""
    statuses: list[Object] = pod["status"].get("initContainerStatuses", [])
    return next((status for status in statuses if status["name"] == FETCH_CONTAINER), {})


def waits(pod: Object) -> Iterator[Object]:
    """Yield what the containers of a pod wait for, in the order in which they start."""
    for status in (fetch_status(pod), engine_status(pod)):
        if waiting := status.get("state", {}).get("waiting"):
            yield waiting


def last_end(pod: Object) -> Object | None:
    """Return how the engine ended last, unless it has started again since."""
    status = engine_status(pod)
    if status.get("started"):
        return None
    ends: list[Object | None] = [status.get(field, {}).get("terminated") for field in ("state", "lastState")]
    return next((end for end in ends if end), None)


def restarts(pod: Object) -> int:
    """Count the engine's restarts in this pod."""
    return int(engine_status(pod).get("restartCount", 0))


def cause_of_end(pod: Object, ended: Object, *, served: bool) -> Cause:
    """Say how the engine ended; what it means depends on whether it had served."""
    name, word = pod["metadata"]["name"], ended.get("reason", "Error")
    if word == NEVER_STARTED:
        return Cause(Reason.CONTAINER_CONFIG_INVALID, f"{name}: {ended.get('message', word)}")
    return Cause(
        Reason.ENGINE_CRASHED if served else Reason.MODEL_LOAD_FAILED,
        f"{name}: the engine ended with code {ended['exitCode']} ({word}), restarts: {restarts(pod)}",
    )


def is_silent(pod: Object) -> bool:
    """Tell a pod that served, runs and fails its readiness probe.

    A node that fell silent takes its pods' Ready away too, but not that of their containers.
    """
    status = engine_status(pod)
    failing = bool(status.get("started")) and not status.get("ready")
    return failing and condition_message(pod, "Ready", "True") is None and was_ready(pod)


def was_ready(pod: Object) -> bool:
    """Tell a pod that served from one that never did, by its conditions.

    The kubelet sets Ready to False when it first sees a pod, before the pod's sandbox is up; a later change
    to False means that it was True in between.
    """
    times = {
        entry["type"]: entry.get("lastTransitionTime", "") for entry in pod["status"].get("conditions", [])
    }
    up = times.get("PodReadyToStartContainers", times.get("Initialized", ""))
    return bool(times.get("Ready", "") > up)


def seconds_to_ready(pod: Object) -> float | None:
    """Seconds from the pod's start on its node to its being ready, or None where it does not tell."""
    conditions, started = pod["status"].get("conditions", ()), pod["status"].get("startTime")
    ready = next((each.get("lastTransitionTime") for each in conditions if each["type"] == "Ready"), None)
    if not (ready and started):
        return None
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()


def condition_message(obj: Object, kind: str, status: str) -> str | None:
    """Return the message of a condition that has this status, None where none has."""
    for condition in obj.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == status:
            return str(condition.get("message", ""))
    return None
