"""Why engine pods are not ready: an ordered list of symptoms, the first hit wins.

Symptoms are read from the Deployment and, while it lacks ready replicas, from its pods. Only codes and the
kubelet's own words are repeated, never a container's log: it could hold a prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pilothouse.names import DEPLOYMENT, REVISION, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.fetched import fetch_failure
from pilothouse.plan.observed import Object
from pilothouse.plan.podstate import (
    cause_of_end,
    condition_message,
    is_gone,
    is_silent,
    last_end,
    waits,
    was_ready,
)

_PULL_FAILURES: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG_FAILURES: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


def diagnose(deployment: Object, pods: Sequence[Object]) -> Cause | None:
    """Return what keeps a revision's pods from being ready, or None where they are merely on their way."""
    own = [pod for pod in pods if _is_of(pod, deployment) and not is_gone(pod)]
    symptoms = (symptom(deployment, own) for symptom in _SYMPTOMS)
    return next((found for found in symptoms if found), None)


def _pods_refused(deployment: Object, _: Sequence[Object]) -> Cause | None:
    message = condition_message(deployment, "ReplicaFailure", "True")
    if message is None:
        return None
    return Cause(Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.APPLY_REFUSED, message)


def _image_not_pulled(_: Object, pods: Sequence[Object]) -> Cause | None:
    return _waiting(pods, _PULL_FAILURES, Reason.IMAGE_PULL_FAILED)


def _container_misconfigured(_: Object, pods: Sequence[Object]) -> Cause | None:
    return _waiting(pods, _CONFIG_FAILURES, Reason.CONTAINER_CONFIG_INVALID)


def _fetch_ended(_: Object, pods: Sequence[Object]) -> Cause | None:
    return next((cause for pod in pods if (cause := fetch_failure(pod))), None)


def _engine_ended(_: Object, pods: Sequence[Object]) -> Cause | None:
    ends = ((pod, ended) for pod in pods if (ended := last_end(pod)))
    return next((cause_of_end(pod, ended, served=was_ready(pod)) for pod, ended in ends), None)


def _not_scheduled(_: Object, pods: Sequence[Object]) -> Cause | None:
    for pod in pods:
        message = condition_message(pod, "PodScheduled", "False")
        if message is not None:
            return Cause(_scheduling_reason(pod, message), message)
    return None


def _too_slow(deployment: Object, _: Sequence[Object]) -> Cause | None:
    message = condition_message(deployment, "Progressing", "False")
    return None if message is None else Cause(Reason.STARTUP_DEADLINE_EXCEEDED, message)


def _probe_fails(_: Object, pods: Sequence[Object]) -> Cause | None:
    silent = [pod["metadata"]["name"] for pod in pods if is_silent(pod)]
    if not silent:
        return None
    return Cause(Reason.ENGINE_NOT_READY, f"{', '.join(silent)}: /health does not answer")


_SYMPTOMS: Final[tuple[Callable[[Object, Sequence[Object]], Cause | None], ...]] = (
    _pods_refused,
    _image_not_pulled,
    _container_misconfigured,
    _fetch_ended,
    _engine_ended,
    _not_scheduled,
    _too_slow,
    _probe_fails,
)


def _is_of(pod: Object, deployment: Object) -> bool:
    labels, wanted = pod["metadata"].get("labels", {}), deployment["spec"]["selector"]["matchLabels"]
    return all(labels.get(name) == wanted[name] for name in (DEPLOYMENT, REVISION))


def _waiting(pods: Sequence[Object], reasons: frozenset[str], reason: Reason) -> Cause | None:
    found = ((pod, waiting) for pod in pods for waiting in waits(pod) if waiting.get("reason") in reasons)
    for pod, waiting in found:
        return Cause(reason, f"{pod['metadata']['name']}: {waiting.get('message') or waiting['reason']}")
    return None


def _scheduling_reason(pod: Object, message: str) -> Reason:
    extended = (name for name in _limits(pod) if "/" in name)
    lacks_gpu = any(f"Insufficient {name}" in message for name in extended)
    return Reason.INSUFFICIENT_GPU if lacks_gpu else Reason.UNSCHEDULABLE


def _limits(pod: Object) -> Iterator[str]:
    for container in pod["spec"]["containers"]:
        yield from container.get("resources", {}).get("limits", {})
