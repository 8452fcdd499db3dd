"""A lane in use that is deleted, renamed or edited: refused, or said by all its models, which serve on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness.shell import HarnessError, wait_for
from integration.loop.conftest import LANE, starting
from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import HEAL_SECONDS, Object, Team

MODELS = ("one", "two")


@pytest.fixture(scope="module", autouse=True)
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One replica that leads, for all tests of this file."""
    with starting(plane, tmp_path_factory.mktemp("operator")) as start:
        yield start().wait_ready().wait_leading()


@pytest.fixture
def lane(plane: ControlPlane, team: Team) -> Iterator[str]:
    """A lane of the team's own, in which two models serve; by its name."""
    name = f"lane-{team.namespace}"
    _create(plane, name)
    for model in MODELS:
        team.declare(model, queueClassName=name, replicas=1)
    wait_for("the pods", lambda: len(team.pods()) == len(MODELS))
    team.make_ready()
    _wait_for_all(team, "WorkloadReady", ("True", "Ready"))
    yield name
    plane.kubectl("delete", "qc", "--ignore-not-found", name, _other(name))


def _create(plane: ControlPlane, name: str) -> None:
    lane = {**LANE, "metadata": {"name": name}}
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(lane))


def _other(lane: str) -> str:
    return f"{lane}-renamed"


def _patch(plane: ControlPlane, lane: str, **spec: Any) -> None:
    plane.kubectl("patch", "qc", lane, "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def _wait_for_all(team: Team, kind: str, told: tuple[str, str]) -> None:
    for model in MODELS:
        wait_for(f"{kind} of {model}", lambda model=model: team.condition(kind, model) == told)  # type: ignore[misc]


def _serving(team: Team) -> dict[tuple[str, str], Object]:
    """What serves: the pods, and the specs of the children that lead to them."""
    children = {key: obj for model in MODELS for key, obj in team.children(model).items()}
    pods = {("Pod", pod["metadata"]["uid"]): {} for pod in team.pods()}
    return {**pods, **{key: obj.get("spec", {}) for key, obj in children.items()}}


def _assert_serves_on(team: Team, before: dict[tuple[str, str], Object]) -> None:
    """Every model serves as it did, and what is lost of it comes back."""
    assert _serving(team) == before
    for model in MODELS:
        assert team.condition("WorkloadReady", model) == ("True", "Ready")
        team.kubectl("delete", "service", model)
    wait_for("the Services", lambda: _serving(team).keys() == before.keys(), seconds=HEAL_SECONDS)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_lane_that_goes_is_said_by_all_its_models_which_serve_on(
    team: Team, plane: ControlPlane, lane: str, *, renamed: bool
) -> None:
    before = _serving(team)
    if renamed:
        _create(plane, _other(lane))
    plane.kubectl("delete", "qc", lane)
    for kind in ("Accepted", "Ready"):
        _wait_for_all(team, kind, ("False", "QueueClassNotFound"))
    for model in MODELS:
        assert team.message("Accepted", model) == f'spec.queueClassName: there is no QueueClass "{lane}"'
    _assert_serves_on(team, before)


def test_a_lane_that_comes_back_changes_nothing(team: Team, plane: ControlPlane, lane: str) -> None:
    before = _serving(team)
    plane.kubectl("delete", "qc", lane)
    _wait_for_all(team, "Accepted", ("False", "QueueClassNotFound"))
    _create(plane, lane)
    _wait_for_all(team, "Accepted", ("True", "Accepted"))
    assert _serving(team) == before


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.requests.maxInputTokens", {"requests": {"maxInputTokens": 0}}),
        ("spec.concurrency.maxWait", {"concurrency": {"onFull": "Wait"}}),
        ("spec.drain", {"drain": "soon"}),
    ],
)
def test_an_edit_that_makes_a_lane_invalid_is_refused_by_name_of_its_field(
    plane: ControlPlane, field: str, spec: Object
) -> None:
    with pytest.raises(HarnessError, match=field):
        _patch(plane, "completion", **spec)


def test_a_lane_that_an_older_schema_let_in_is_said_by_all_its_models_which_serve_on(
    team: Team, plane: ControlPlane, lane: str
) -> None:
    before = _serving(team)
    crd = json.loads(plane.kubectl("get", "crd", "queueclasses.pilothouse.dev", "--output=json"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    tokens = spec["properties"]["requests"]["properties"]["maxInputTokens"]
    least = tokens.pop("minimum")
    plane.kubectl("replace", "--filename=-", stdin=json.dumps(crd))
    try:
        wait_for("the older schema", lambda: _accepts(plane, lane, maxInputTokens=0))
        _wait_for_all(team, "Accepted", ("False", "QueueClassUnreadable"))
        for model in MODELS:
            said = f'spec.queueClassName: QueueClass "{lane}" can\'t be read: spec.requests.maxInputTokens'
            assert team.message("Accepted", model).startswith(said)
        _assert_serves_on(team, before)
    finally:
        _patch(plane, lane, requests={"maxInputTokens": 8192})
        tokens["minimum"] = least
        crd["metadata"].pop("resourceVersion")
        plane.kubectl("replace", "--filename=-", stdin=json.dumps(crd))
    _wait_for_all(team, "Accepted", ("True", "Accepted"))
    assert _serving(team).keys() == before.keys()


def _accepts(plane: ControlPlane, lane: str, **requests: Any) -> bool:
    try:
        _patch(plane, lane, requests=requests)
    except HarnessError:
        return False
    return True
