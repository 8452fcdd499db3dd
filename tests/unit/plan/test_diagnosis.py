"""Why pods are not ready, read from pods of a real Kubernetes 1.35 in that trouble (pods/, trimmed)."""

import copy
from pathlib import Path

import pytest
import yaml

from pilothouse.names import Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.diagnosis import diagnose
from pilothouse.plan.observed import Object

PODS = Path(__file__).parent / "pods"

EXPECTED = {
    "claim-missing": (Reason.UNSCHEDULABLE, 'persistentvolumeclaim "models" not found'),
    "crash-at-load": (Reason.MODEL_LOAD_FAILED, "the engine ended with code 1 (Error), restarts: 2"),
    "crashed": (Reason.ENGINE_CRASHED, "the engine ended with code 1 (Error), restarts: 1"),
    "crashed-then-silent": (Reason.ENGINE_NOT_READY, "/health does not answer"),
    "gpu-missing": (Reason.INSUFFICIENT_GPU, "1 Insufficient nvidia.com/gpu"),
    "image-missing": (Reason.IMAGE_PULL_FAILED, "pilothouse.dev/no-such-engine:v0.32.0"),
    "image-missing-for-fetch": (Reason.IMAGE_PULL_FAILED, "pilothouse.dev/nowhere:v0.32.0"),
    "no-vllm-in-image": (Reason.CONTAINER_CONFIG_INVALID, 'exec: "vllm": executable file not found'),
    "out-of-memory": (Reason.MODEL_LOAD_FAILED, "code 137 (OOMKilled), restarts: 3"),
    "quota-exceeded": (Reason.QUOTA_EXCEEDED, "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1"),
    "secret-missing": (Reason.CONTAINER_CONFIG_INVALID, 'secret "hf-token" not found'),
    "silent": (Reason.ENGINE_NOT_READY, "/health does not answer"),
    "too-slow": (Reason.STARTUP_DEADLINE_EXCEEDED, "has timed out progressing"),
    "volume-image-missing": (Reason.IMAGE_PULL_FAILED, "pilothouse.dev/no-such-weights@sha256:"),
}
ON_THEIR_WAY = ["loading", "loading-beside-a-rejected-pod", "restarted-after-crash", "serving"]


def load(name: str) -> tuple[Object, list[Object]]:
    """One Deployment and its pods."""
    case = yaml.safe_load((PODS / f"{name}.yaml").read_text())
    return case["deployment"], case["pods"]


def diagnosis(deployment: Object, *pods: Object) -> Cause:
    """The diagnosis, which there is."""
    found = diagnose(deployment, pods)
    assert found
    return found


def renamed(pod: Object, name: str) -> Object:
    """The same pod under another name."""
    return {**pod, "metadata": {**pod["metadata"], "name": name}}


def test_every_recorded_pod_is_tested() -> None:
    assert {path.stem for path in PODS.iterdir()} == {*EXPECTED, *ON_THEIR_WAY}


@pytest.mark.parametrize("name", EXPECTED)
def test_trouble_is_told_by_its_reason_and_in_kubernetes_own_words(name: str) -> None:
    deployment, pods = load(name)
    found = diagnosis(deployment, *pods)
    reason, words = EXPECTED[name]

    assert found.reason is reason
    assert words in found.message


@pytest.mark.parametrize("name", ON_THEIR_WAY)
def test_pods_on_their_way_are_no_trouble(name: str) -> None:
    deployment, pods = load(name)

    assert diagnose(deployment, pods) is None


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in {"too-slow", "quota-exceeded"}])
def test_pods_of_another_revision_are_not_blamed(name: str) -> None:
    deployment, pods = copy.deepcopy(load(name))
    for pod in pods:
        pod["metadata"]["labels"]["pilothouse.dev/revision"] = "9876543210"

    assert diagnose(deployment, pods) is None


@pytest.mark.parametrize("gone", [{"deletionTimestamp": "2026-11-23T22:50:00Z"}, {}])
def test_a_pod_that_is_gone_is_not_blamed(gone: Object) -> None:
    deployment, (pod,) = load("crashed")
    phase = "Running" if gone else "Failed"
    lost = {
        **pod,
        "metadata": {**pod["metadata"], **gone},
        "status": {**pod["status"], "phase": phase},
    }

    assert diagnose(deployment, [lost]) is None


def test_one_pod_in_trouble_is_enough() -> None:
    deployment, (crashed,) = load("crashed")
    _, (serving,) = load("serving")
    serving = {**serving, "metadata": {**serving["metadata"], "labels": crashed["metadata"]["labels"]}}

    assert diagnosis(deployment, serving, crashed).reason is Reason.ENGINE_CRASHED


def test_a_pod_that_passed_its_startup_a_moment_ago_is_not_called_silent() -> None:
    deployment, (pod,) = copy.deepcopy(load("loading"))
    pod["status"]["containerStatuses"][0]["started"] = True
    _, (serving,) = copy.deepcopy(load("serving"))
    serving["metadata"]["labels"] = pod["metadata"]["labels"]

    assert diagnose(deployment, [serving, pod]) is None


def test_every_silent_pod_is_named() -> None:
    deployment, (pod,) = load("silent")
    found = diagnosis(deployment, renamed(pod, "one"), renamed(pod, "two"))

    assert found.message == "one, two: /health does not answer"


def test_the_image_is_blamed_before_the_deadline_that_it_made_pass() -> None:
    _, (pod,) = load("image-missing")
    deployment, _ = load("too-slow")
    pod = {**pod, "metadata": {**pod["metadata"], "labels": deployment["spec"]["selector"]["matchLabels"]}}

    assert diagnosis(deployment, pod).reason is Reason.IMAGE_PULL_FAILED


def test_a_pod_that_nobody_may_create_is_not_called_a_quota() -> None:
    deployment, pods = copy.deepcopy(load("quota-exceeded"))
    failure = next(entry for entry in deployment["status"]["conditions"] if entry["type"] == "ReplicaFailure")
    failure["message"] = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'

    assert diagnosis(deployment, *pods) == Cause(Reason.APPLY_REFUSED, failure["message"])


def test_a_node_that_fits_for_another_reason_than_gpus_is_told_apart() -> None:
    deployment, (pod,) = copy.deepcopy(load("gpu-missing"))
    (condition,) = pod["status"]["conditions"]
    condition["message"] = "0/1 nodes are available: 1 Insufficient memory."

    assert diagnosis(deployment, pod) == Cause(Reason.UNSCHEDULABLE, condition["message"])


def test_a_container_that_is_not_the_engine_is_not_diagnosed() -> None:
    deployment, (pod,) = copy.deepcopy(load("crash-at-load"))
    pod["status"]["containerStatuses"][0]["name"] = "sidecar"

    assert diagnose(deployment, [pod]) is None


def test_what_the_engine_wrote_when_it_ended_is_not_repeated() -> None:
    deployment, (pod,) = copy.deepcopy(load("crashed"))
    pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] = "prompt: def secret("

    assert "secret" not in diagnosis(deployment, pod).message
