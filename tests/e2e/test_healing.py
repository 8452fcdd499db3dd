"""Whatever somebody does to a child is mended without a resync, and what is foreign stays so."""

import json
from collections.abc import Callable

import pytest

from e2e.manifests import Object, model_deployment
from e2e.team import Team
from harness.shell import HarnessError, wait_for
from pilothouse.names import Reason

NAME = "healed"
HEAL_SECONDS = 30
"""Far less than until a resync would find it, and nothing else looks at a model that rests.

How long it takes is measured by benchmarks/healing.py.
"""
KINDS = ("deployment", "service", "poddisruptionbudget", "controllerrevision", "httproute", "stable service")
EDITS = {
    "deployment": {"spec": {"progressDeadlineSeconds": 3}},
    "service": {"spec": {"selector": {"app": "mine"}}},
    "poddisruptionbudget": {"spec": {"maxUnavailable": 100}},
    "controllerrevision": {"metadata": {"labels": {"pilothouse.dev/revision": "0000000000"}}},
    "httproute": {
        "spec": {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/of-nobody"}}]}]}
    },
    "stable service": {"spec": {"selector": {"pilothouse.dev/revision": "0000000000"}}},
}
"""What somebody may do to a child of each kind, as a merge patch."""


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.apply(model_deployment(NAME, team.namespace, team.lane))
    team.wait_ready(NAME)


def child(team: Team, kind: str) -> tuple[str, str]:
    """Kind and name of the child, as kubectl takes them."""
    if kind == "stable service":
        return "service", NAME
    return kind, NAME if kind == "httproute" else team.child(NAME)


def as_declared(found: Object) -> Object:
    """What the operator declares of an object, without what tells one life of it from another."""
    spec = {name: value for name, value in found.get("spec", {}).items() if not name.startswith("clusterIP")}
    metadata = {name: found["metadata"].get(name) for name in ("labels", "ownerReferences")}
    return {"spec": spec, "metadata": metadata}


def wait_healed(what: str, healed: Callable[[], bool]) -> None:
    def there() -> bool:
        try:
            return healed()
        except HarnessError:
            return False

    wait_for(what, there, seconds=HEAL_SECONDS, pause=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_child_comes_back(team: Team, kind: str) -> None:
    kind, name = child(team, kind)
    before = team.get(kind, name)

    team.kubectl("delete", kind, name, "--wait=false")

    wait_healed(f"the {kind}", lambda: team.get(kind, name)["metadata"]["uid"] != before["metadata"]["uid"])
    assert as_declared(team.get(kind, name)) == as_declared(before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_child_is_put_right(team: Team, kind: str) -> None:
    edit = EDITS[kind]
    kind, name = child(team, kind)
    before = as_declared(team.get(kind, name))

    team.kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(edit)}")

    wait_healed(f"the {kind}", lambda: as_declared(team.get(kind, name)) == before)


def test_a_child_whose_label_was_taken_off_is_found_again(team: Team) -> None:
    name = team.child(NAME)

    team.kubectl("label", "service", name, "app.kubernetes.io/managed-by-")

    wait_healed(
        "the label", lambda: "app.kubernetes.io/managed-by" in team.get("service", name)["metadata"]["labels"]
    )


def test_what_others_add_to_a_child_stays(team: Team) -> None:
    name = team.child(NAME)
    team.kubectl("annotate", "service", name, "example.com/owner=search")
    team.kubectl("delete", "httproute", NAME)
    team.wait("--for=create", f"httproute/{NAME}")

    assert team.get("service", name)["metadata"]["annotations"]["example.com/owner"] == "search"


def test_a_foreign_service_of_the_same_name_is_not_taken_over(team: Team) -> None:
    team.kubectl("create", "service", "clusterip", "taken", "--tcp=80:8080")
    foreign = team.get("service", "taken")
    team.apply(model_deployment("taken", team.namespace, team.lane))

    team.wait_reason("taken", Reason.APPLY_REFUSED)
    assert team.get("service", "taken") == foreign
    assert "Service taken" in team.condition("taken")["message"]
    team.kubectl("delete", "service", "taken")

    team.wait_ready("taken")
