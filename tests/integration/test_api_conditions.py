"""What only the cluster or the engine's release can tell is accepted, and then refused by a condition."""

import json
from collections.abc import Callable, Iterator

import pytest

from manifests.corpus import Told, told_cases
from pilothouse.names import Reason

Kubectl = Callable[..., str]

pytestmark = pytest.mark.usefixtures("crds", "operator", "_lane")

LANE = {
    "apiVersion": "pilothouse.dev/v1alpha1",
    "kind": "QueueClass",
    "metadata": {"name": "corpus"},
    "spec": {"requests": {"maxInputTokens": 1024, "maxOutputTokens": 64, "timeout": "15s"}},
}


@pytest.fixture(scope="module")
def _lane(kubectl: Kubectl) -> Iterator[None]:
    kubectl("apply", "--filename=-", input=json.dumps(LANE))
    yield
    kubectl("delete", "queueclass", "corpus")


@pytest.mark.parametrize("case", told_cases(), ids=lambda case: case.sentence)
def test_what_can_not_be_carried_out_is_said_in_a_condition(
    kubectl: Kubectl, namespace: str, case: Told
) -> None:
    within = ("--namespace", namespace)
    condition = f'{{.status.conditions[?(@.type=="{case.condition}")]'
    kubectl("create", *within, "--validate=strict", "--filename=-", input=json.dumps(case.manifest))

    kubectl(
        "wait", *within, "md/corpus", f"--for=jsonpath={condition}.reason}}={case.reason}", "--timeout=30s"
    )

    status = kubectl("get", *within, "md/corpus", f"--output=jsonpath={condition}.status}}")
    message = kubectl("get", *within, "md/corpus", f"--output=jsonpath={condition}.message}}")
    assert status == "False"
    assert case.names in message


def test_each_reason_of_the_corpus_is_one_of_the_api() -> None:
    assert {case.reason for case in told_cases()} <= set(Reason)
