"""Why engine pods are not ready: an ordered list of symptoms, the first hit wins.

Symptoms are read from the Deployment and, while it lacks ready replicas, from its pods. Only codes and the
kubelet's own words are repeated, never a container's log: it could hold a prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pilothouse.names import DEPLOYMENT, ENGINE_CONTAINER, REVISION, Reason
from pilothouse.plan.acceptance import Refusal
from pilothouse.plan.observed import Object

_PULL_FAILURES: Final = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
}
_CONFIG_FAILURES: Final = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def diagnose(deployment: Object, pods: Sequence[Object]) -> Refusal | None:
    """Return what keeps a revision's pods from being ready, or None where they are merely on their way."""
    own = [pod for pod in pods if _is_of(pod, deployment)]
    symptoms = (symptom(deployment, own) for symptom in _SYMPTOMS)
    return next((found for found in symptoms if found), None)


def _pods_refused(deployment: Object, _: Sequence[Object]) -> Refusal | None:
    message = _condition_message(deployment, "ReplicaFailure", "True")
    if message is None:
        return None
    return Refusal(Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.APPLY_REFUSED, message)


def _image_not_pulled(_: Object, pods: Sequence[Object]) -> Refusal | None:
    return _waiting(pods, _PULL_FAILURES, Reason.IMAGE_PULL_FAILED)


def _container_misconfigured(_: Object, pods: Sequence[Object]) -> Refusal | None:
    return _waiting(pods, _CONFIG_FAILURES, Reason.CONTAINER_CONFIG_INVALID)


def _engine_ended(_: Object, pods: Sequence[Object]) -> Refusal | None:
    for pod in pods:
        ended = _last_end(pod)
        if ended:
            reason = Reason.ENGINE_CRASHED if _was_ready(pod) else Reason.MODEL_LOAD_FAILED
            return Refusal(reason, _end_message(pod, ended))
    return None


def _not_scheduled(_: Object, pods: Sequence[Object]) -> Refusal | None:
    for pod in pods:
        message = _condition_message(pod, "PodScheduled", "False")
        if message is not None:
            return Refusal(_scheduling_reason(pod, message), message)
    return None


def _too_slow(deployment: Object, _: Sequence[Object]) -> Refusal | None:
    message = _condition_message(deployment, "Progressing", "False")
    return None if message is None else Refusal(Reason.STARTUP_DEADLINE_EXCEEDED, message)


def _probe_fails(_: Object, pods: Sequence[Object]) -> Refusal | None:
    silent = [
        pod["metadata"]["name"] for pod in pods if _engine_status(pod).get("started") and not _is_ready(pod)
    ]
    if not silent or not any(map(_was_ready, pods)):
        return None
    return Refusal(Reason.ENGINE_NOT_READY, f"{', '.join(silent)}: /health does not answer")


_SYMPTOMS: Final[tuple[Callable[[Object, Sequence[Object]], Refusal | None], ...]] = (
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
    is_own = all(labels.get(name) == wanted[name] for name in (DEPLOYMENT, REVISION))
    return is_own and "deletionTimestamp" not in pod["metadata"]


def _engine_status(pod: Object) -> Object:
    statuses: list[Object] = pod.get("status", {}).get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == ENGINE_CONTAINER), {})


def _waiting(pods: Sequence[Object], reasons: set[str], reason: Reason) -> Refusal | None:
    for pod in pods:
        waiting = _engine_status(pod).get("state", {}).get("waiting", {})
        if waiting.get("reason") in reasons:
            message = waiting.get("message") or waiting["reason"]
            return Refusal(reason, f"{pod['metadata']['name']}: {message}")
    return None


def _last_end(pod: Object) -> Object | None:
    status = _engine_status(pod)
    if status.get("ready"):
        return None
    ends: list[Object | None] = [status.get(field, {}).get("terminated") for field in ("state", "lastState")]
    return next((end for end in ends if end), None)


def _end_message(pod: Object, ended: Object) -> str:
    name, code, word = pod["metadata"]["name"], ended.get("exitCode"), ended.get("reason", "Error")
    restarts = _engine_status(pod).get("restartCount", 0)
    return f"{name}: the engine ended with code {code} ({word}), {restarts} restarts"


def _scheduling_reason(pod: Object, message: str) -> Reason:
    extended = {name for name in _limits(pod) if "/" in name}
    return (
        Reason.INSUFFICIENT_GPU
        if any(f"Insufficient {name}" in message for name in extended)
        else Reason.UNSCHEDULABLE
    )


def _limits(pod: Object) -> Iterator[str]:
    for container in pod["spec"]["containers"]:
        yield from container.get("resources", {}).get("limits", {})


def _is_ready(pod: Object) -> bool:
    return _condition_message(pod, "Ready", "True") is not None


def _was_ready(pod: Object) -> bool:
    """Tell a pod that served from one that never did: its Ready went to False after its sandbox was up."""
    times = {
        entry["type"]: entry.get("lastTransitionTime", "") for entry in pod["status"].get("conditions", [])
    }
    return _is_ready(pod) or times.get("Ready", "") > times.get(
        "PodReadyToStartContainers", times.get("Initialized", "")
    )


def _condition_message(obj: Object, kind: str, status: str) -> str | None:
    for condition in obj.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == status:
            return str(condition.get("message", ""))
    return None
