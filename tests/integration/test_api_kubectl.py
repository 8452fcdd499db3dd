"""What kubectl makes of the kinds: columns, scale, short names, explanations."""

import json
from collections.abc import Callable

import pytest

from manifests.corpus import CONDITIONS, base_of
from pilothouse.api.definitions import DEFINITIONS, Definition

Kubectl = Callable[..., str]

pytestmark = pytest.mark.usefixtures("crds")

STATUS = {
    "phase": "RollingOut",
    "url": "http://192.0.2.1/team/v1",
    "replicas": 3,
    "selector": "pilothouse.dev/deployment=corpus",
    "stable": {"revision": "7f3a9c1d20"},
    "canary": {"revision": "0c9d8e7f60", "weight": {"desired": 5, "observed": 4.8}},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "3 of 3 pods are ready",
            "lastTransitionTime": "2026-11-23T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


@pytest.fixture
def model(kubectl: Kubectl, namespace: str) -> str:
    """A ModelDeployment of a lane that nobody has, so that no operator starts anything for it."""
    manifest = base_of(CONDITIONS)
    manifest["spec"] |= {"queueClassName": "of-nobody"}
    manifest["spec"]["model"] |= {"name": "qwen2.5-coder"}
    kubectl("create", "--namespace", namespace, "--filename=-", input=json.dumps(manifest))
    return namespace


def test_kubectl_get_prints_the_columns_of_the_design(kubectl: Kubectl, model: str) -> None:
    header = kubectl("get", "md", "--namespace", model, "--output=wide").splitlines()[0].split()

    assert header == [
        *("NAME", "READY", "PHASE", "MODEL", "REV", "CANARY", "CLASS", "REPLICAS", "AGE"),
        *("TOKENIZER", "LICENSE", "URL", "REASON"),
    ]


def test_a_status_of_the_design_is_kept_whole(kubectl: Kubectl, model: str) -> None:
    within = ("--namespace", model, "--subresource=status", "--output=json")
    patched = kubectl(
        "patch",
        "md",
        "corpus",
        *within,
        "--type=merge",
        "--dry-run=server",
        f"--patch={json.dumps({'status': STATUS})}",
    )

    status = json.loads(patched)["status"]
    assert {key: status[key] for key in STATUS if key != "conditions"} == {
        key: value for key, value in STATUS.items() if key != "conditions"
    }
    assert [condition["reason"] for condition in status["conditions"]] == ["Ready"]


def test_kubectl_scale_writes_replicas(kubectl: Kubectl, model: str) -> None:
    kubectl("scale", "md/corpus", "--namespace", model, "--replicas=2")

    assert kubectl("get", "md/corpus", "--namespace", model, "--output=jsonpath={.spec.replicas}") == "2"


def test_a_misspelt_condition_status_is_refused(kubectl: Kubectl, model: str) -> None:
    condition = {**STATUS["conditions"][0], "status": "Yes"}
    patch = json.dumps({"status": {"conditions": [condition]}})

    with pytest.raises(Exception, match=r"status.conditions\[0\].status"):
        kubectl(
            *("patch", "md", "corpus", "--namespace", model, "--subresource=status", "--type=merge"),
            f"--patch={patch}",
        )


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.short)
def test_a_short_name_explains_every_field(kubectl: Kubectl, definition: Definition) -> None:
    explained = kubectl("explain", f"{definition.short}.spec", "--recursive")

    assert f"KIND:       {definition.name}" in explained
    assert "<empty>" not in kubectl("explain", f"{definition.short}.spec")


def test_the_category_lists_every_kind(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources", "--categories=pilothouse", "--output=name").split()

    assert sorted(listed) == sorted(f"{definition.plural}.pilothouse.dev" for definition in DEFINITIONS)
