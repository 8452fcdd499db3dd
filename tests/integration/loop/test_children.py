"""A ModelDeployment has its children, whatever anyone does to them, and leaves none behind."""

import json
from collections.abc import Iterator

import pytest

from harness.shell import HarnessError, wait_for
from integration.loop.conftest import starting
from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import HEAL_SECONDS, Team

KINDS = ["Deployment", "Service", "PodDisruptionBudget", "ControllerRevision", "HTTPRoute"]


@pytest.fixture(scope="module", autouse=True)
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One replica that leads, for all tests of this file."""
    with starting(plane, tmp_path_factory.mktemp("operator")) as start:
        yield start().wait_ready().wait_leading()


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_vanished_comes_back_without_a_resync(team: Team, kind: str) -> None:
    team.declare()
    team.wait_for_rest()
    name = team.child(kind)
    before = team.get(kind, name)["metadata"]["uid"]
    team.kubectl("delete", kind, name, "--wait=false")
    wait_for(
        f"a new {kind}",
        lambda: team.children().get((kind, name), {}).get("metadata", {}).get("uid", before) != before,
        seconds=HEAL_SECONDS,
    )


@pytest.mark.parametrize(
    ("kind", "patch", "path"),
    [
        ("Deployment", {"spec": {"replicas": 3}}, ("spec", "replicas")),
        ("Deployment", {"metadata": {"labels": {"pilothouse.dev/revision": "x"}}}, ("metadata", "labels")),
        ("Service", {"spec": {"selector": {"stolen": "traffic"}}}, ("spec", "selector")),
        ("PodDisruptionBudget", {"spec": {"maxUnavailable": 7}}, ("spec", "maxUnavailable")),
        (
            "HTTPRoute",
            {"spec": {"rules": [{"backendRefs": [{"name": "stolen", "port": 80}]}]}},
            ("spec", "rules"),
        ),
    ],
)
def test_a_child_that_was_changed_is_put_right_without_a_resync(
    team: Team, kind: str, patch: dict[str, object], path: tuple[str, str]
) -> None:
    team.declare()
    team.wait_for_rest()
    name = team.child(kind)
    section, field = path
    before = team.get(kind, name)[section][field]
    team.kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")
    wait_for(
        f"{kind}.{section}.{field}",
        lambda: team.get(kind, name)[section][field] == before,
        seconds=HEAL_SECONDS,
    )


def test_a_child_that_lost_our_label_is_taken_back(team: Team) -> None:
    team.declare()
    team.wait_for_rest()
    name = team.child("Deployment")
    uid = team.get("Deployment", name)["metadata"]["uid"]
    team.kubectl("label", "deployment", name, "app.kubernetes.io/managed-by-")
    wait_for("the label", lambda: ("Deployment", name) in team.children(), seconds=HEAL_SECONDS)
    assert team.get("Deployment", name)["metadata"]["uid"] == uid


def test_what_others_added_to_a_child_stays(team: Team) -> None:
    team.declare()
    team.wait_for_rest()
    name = team.child("Deployment")
    team.kubectl("annotate", "deployment", name, "theirs=1")
    team.kubectl("scale", "deployment", name, "--replicas=4")
    wait_for("the count", lambda: team.get("Deployment", name)["spec"]["replicas"] == 0, seconds=HEAL_SECONDS)
    assert team.get("Deployment", name)["metadata"]["annotations"]["theirs"] == "1"


def test_a_foreign_object_of_the_same_name_is_left_alone_and_told_of(team: Team) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "qwen-coder", "namespace": team.namespace},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    team.apply(foreign)
    before = team.get("service", "qwen-coder")
    team.declare()
    wait_for("the refusal", lambda: "ApplyRefused" in json.dumps(team.get("md", "qwen-coder")))
    assert team.get("service", "qwen-coder") == before
    team.wait_for_children()


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_deletion_leaves_nothing(team: Team, cascade: str) -> None:
    team.declare()
    team.wait_for_rest()
    team.kubectl("delete", "md", "qwen-coder", f"--cascade={cascade}", "--timeout=30s")
    wait_for("the children to go", lambda: team.children() == {})
    team.declare("another")
    team.wait_for_rest("another")
    assert team.children() == {}


def test_a_namespace_that_is_deleted_goes(team: Team, operator: OperatorProcess) -> None:
    before = len(operator.lines())
    team.declare()
    team.wait_for_rest()
    team.plane.kubectl("delete", "namespace", team.namespace, "--timeout=60s")
    team.plane.kubectl("create", "namespace", team.namespace)
    assert [line for line in operator.lines()[before:] if line["level"] == "error"] == []


def test_a_scale_touches_nothing_but_the_count(team: Team, plane: ControlPlane) -> None:
    team.declare()
    team.wait_for_rest()
    before = team.children()
    name = team.child("Deployment")
    template = before["Deployment", name]["spec"]["template"]
    plane.kubectl("--namespace", team.namespace, "scale", "md", "qwen-coder", "--replicas=2")
    wait_for("the count", lambda: team.get("Deployment", name)["spec"]["replicas"] == 2)
    after = team.children()
    assert after.keys() == before.keys()
    assert after["Deployment", name]["spec"]["template"] == template
    for kind in ("Service", "ControllerRevision", "HTTPRoute"):
        key = kind, team.child(kind)
        assert after[key]["metadata"]["resourceVersion"] == before[key]["metadata"]["resourceVersion"]


def test_a_lane_that_comes_late_is_noticed(team: Team, plane: ControlPlane) -> None:
    lane = json.loads(plane.kubectl("get", "queueclass", "completion", "--output=json"))
    name = f"lane-{team.namespace}"
    team.declare(queueClassName=name)
    wait_for("the reason", lambda: team.condition("Accepted") == ("False", "QueueClassNotFound"))
    lane["metadata"] = {"name": name}
    plane.kubectl("apply", "--filename=-", stdin=json.dumps({**lane, "status": {}}))
    wait_for("acceptance", lambda: team.condition("Accepted") == ("True", "Accepted"), seconds=HEAL_SECONDS)


def test_an_object_that_an_older_schema_let_in_names_the_field(team: Team, plane: ControlPlane) -> None:
    team.declare()
    team.wait_for_rest()
    before = team.children()
    crd = json.loads(plane.kubectl("get", "crd", "modeldeployments.pilothouse.dev", "--output=json"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    replicas = spec["properties"]["replicas"].pop("maximum")
    plane.kubectl("replace", "--filename=-", stdin=json.dumps(crd))
    try:
        wait_for("the older schema", lambda: _accepts(team, 5000))
        wait_for("the reason", lambda: team.condition("Accepted") == ("False", "InvalidSpec"))
        assert "spec.replicas" in json.dumps(team.get("md", "qwen-coder")["status"])
        assert team.children().keys() == before.keys()
    finally:
        team.declare()
        spec["properties"]["replicas"]["maximum"] = replicas
        crd["metadata"].pop("resourceVersion")
        plane.kubectl("replace", "--filename=-", stdin=json.dumps(crd))


def _accepts(team: Team, replicas: int) -> bool:
    try:
        team.declare(replicas=replicas)
    except HarnessError:
        return False
    return True
