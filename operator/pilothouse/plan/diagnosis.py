"""Why engine pods are not ready: an ordered list of symptoms, the first hit wins.

Symptoms are read from the Deployment and, while it lacks ready replicas, from its pods. Only codes and the
kubelet's own words are repeated, never a container's log: it could hold a prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pilothouse.names import DEPLOYMENT, ENGINE_CONTAINER, REVISION, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object

_PULL_FAILURES: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG_FAILURES: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_NEVER_STARTED: Final = "StartError"
"""Reason of an end that the runtime reports where it could not start the container's program at all."""


def diagnose(deployment: Object, pods: Sequence[Object]) -> Cause | None:
    """Return what keeps a revision's pods from being ready, or None where they are merely on their way."""
    own = [pod for pod in pods if _is_of(pod, deployment) and not _is_gone(pod)]
    symptoms = (symptom(deployment, own) for symptom in _SYMPTOMS)
    return next((found for found in symptoms if found), None)


def _pods_refused(deployment: Object, _: Sequence[Object]) -> Cause | None:
    message = _condition_message(deployment, "ReplicaFailure", "True")
    if message is None:
        return None
    return Cause(Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.APPLY_REFUSED, message)


def _image_not_pulled(_: Object, pods: Sequence[Object]) -> Cause | None:
    return _waiting(pods, _PULL_FAILURES, Reason.IMAGE_PULL_FAILED)


def _container_misconfigured(_: Object, pods: Sequence[Object]) -> Cause | None:
    return _waiting(pods, _CONFIG_FAILURES, Reason.CONTAINER_CONFIG_INVALID)


def _engine_ended(_: Object, pods: Sequence[Object]) -> Cause | None:
    return next((_cause_of_end(pod, ended) for pod in pods if (ended := _last_end(pod))), None)


def _not_scheduled(_: Object, pods: Sequence[Object]) -> Cause | None:
    for pod in pods:
        message = _condition_message(pod, "PodScheduled", "False")
        if message is not None:
            return Cause(_scheduling_reason(pod, message), message)
    return None


def _too_slow(deployment: Object, _: Sequence[Object]) -> Cause | None:
    message = _condition_message(deployment, "Progressing", "False")
    return None if message is None else Cause(Reason.STARTUP_DEADLINE_EXCEEDED, message)


def _probe_fails(_: Object, pods: Sequence[Object]) -> Cause | None:
    silent = [pod["metadata"]["name"] for pod in pods if _is_silent(pod)]
    if not silent:
        return None
    return Cause(Reason.ENGINE_NOT_READY, f"{', '.join(silent)}: /health does not answer")


_SYMPTOMS: Final[tuple[Callable[[Object, Sequence[Object]], Cause | None], ...]] = (
    _pods_refused,
    _image_not_pulled,
    _container_misconfigured,
    _engine_ended,
    _not_scheduled,
    _too_slow,
    _probe_fails,
)


def _is_of(pod: Object, deployment: Object) -> bool:
    labels, wanted = pod["metadata"].get("labels", {}), deployment["spec"]["selector"]["matchLabels"]
    return all(labels.get(name) == wanted[name] for name in (DEPLOYMENT, REVISION))


def _is_gone(pod: Object) -> bool:
    """Tell a pod that is deleted or was evicted or rejected: another has taken its place."""
    return "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") == "Failed"


def _engine_status(pod: Object) -> Object:
    statuses: list[Object] = pod["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == ENGINE_CONTAINER), {})


def _waiting(pods: Sequence[Object], reasons: frozenset[str], reason: Reason) -> Cause | None:
    for pod in pods:
        waiting = _engine_status(pod).get("state", {}).get("waiting", {})
        if waiting.get("reason") in reasons:
            message = waiting.get("message") or waiting["reason"]
            return Cause(reason, f"{pod['metadata']['name']}: {message}")
    return None


def _last_end(pod: Object) -> Object | None:
    """Return how the engine ended last, unless it has started again since."""
    status = _engine_status(pod)
    if status.get("started"):
        return None
    ends: list[Object | None] = [status.get(field, {}).get("terminated") for field in ("state", "lastState")]
    return next((end for end in ends if end), None)


def _cause_of_end(pod: Object, ended: Object) -> Cause:
    name, word = pod["metadata"]["name"], ended.get("reason", "Error")
    if word == _NEVER_STARTED:
        return Cause(Reason.CONTAINER_CONFIG_INVALID, f"{name}: {ended.get('message', word)}")
    reason = Reason.ENGINE_CRASHED if _was_ready(pod) else Reason.MODEL_LOAD_FAILED
    restarts = _engine_status(pod).get("restartCount", 0)
    return Cause(
        reason, f"{name}: the engine ended with code {ended['exitCode']} ({word}), restarts: {restarts}"
    )


def _scheduling_reason(pod: Object, message: str) -> Reason:
    extended = (name for name in _limits(pod) if "/" in name)
    lacks_gpu = any(f"Insufficient {name}" in message for name in extended)
    return Reason.INSUFFICIENT_GPU if lacks_gpu else Reason.UNSCHEDULABLE


def _limits(pod: Object) -> Iterator[str]:
    for container in pod["spec"]["containers"]:
        yield from container.get("resources", {}).get("limits", {})


def _is_silent(pod: Object) -> bool:
    """Tell a pod that served, runs and fails its readiness probe."""
    is_ready = _condition_message(pod, "Ready", "True") is not None
    return bool(_engine_status(pod).get("started")) and not is_ready and _was_ready(pod)


def _was_ready(pod: Object) -> bool:
    """Tell a pod that served from one that never did, by its conditions.

    The kubelet sets Ready to False when it first sees a pod, before the pod's sandbox is up; a later change
    to False means that it was True in between.
    """
    times = {
        entry["type"]: entry.get("lastTransitionTime", "") for entry in pod["status"].get("conditions", [])
    }
    up = times.get("PodReadyToStartContainers", times.get("Initialized", ""))
    return bool(times.get("Ready", "") > up)


def _condition_message(obj: Object, kind: str, status: str) -> str | None:
    for condition in obj.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == status:
            return str(condition.get("message", ""))
    return None
