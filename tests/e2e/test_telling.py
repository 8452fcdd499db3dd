"""What the operator tells, in Events, logs and metrics: the reasons of the conditions, never a secret."""

import json
from collections import Counter

import pytest

from e2e.installed import Operator
from e2e.manifests import engine, model_deployment
from e2e.team import Team
from harness.metrics import parse
from harness.shell import wait_for
from pilothouse.names import Reason

# Whether a reconcile came is told by a count of all models'.
pytestmark = pytest.mark.alone

NAME = "told"
PLAIN, HIDDEN = "plain-8c1f0a", "hidden-77d2e9"
"""Values that must show nowhere but where somebody put them: in an environment variable and in a Secret."""


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.kubectl("create", "secret", "generic", "planted", f"--from-literal=key={HIDDEN}")
    env = [
        {"name": "PLAIN", "value": PLAIN},
        {"name": "HIDDEN", "valueFrom": {"secretKeyRef": {"name": "planted", "key": "key"}}},
    ]
    faulty = engine(crash_at_load=True)
    team.apply(
        model_deployment(NAME, team.namespace, team.lane, engine=engine() | {"env": env}),
        model_deployment("broken", team.namespace, team.lane, engine=faulty | {"env": faulty["env"] + env}),
    )
    team.wait_ready(NAME)
    team.wait_reason("broken", Reason.MODEL_LOAD_FAILED)


def events(team: Team, name: str) -> list[dict[str, str]]:
    """Events about a model, the oldest first."""
    found = [event for event in team.all("events.v1.events.k8s.io") if event["regarding"]["name"] == name]
    ours = [event for event in found if event["regarding"]["kind"] == "ModelDeployment"]
    return sorted(ours, key=lambda event: event["eventTime"])


def test_each_change_of_ready_is_an_event_with_its_reason(team: Team) -> None:
    told = events(team, NAME)

    assert told[-1]["reason"] == Reason.READY
    assert told[-1]["type"] == "Normal"
    assert {event["reason"] for event in told} <= set(Reason)


def test_what_went_wrong_is_a_warning(team: Team) -> None:
    [told] = [event for event in events(team, "broken") if event["reason"] == Reason.MODEL_LOAD_FAILED]

    assert told["type"] == "Warning"
    # The condition goes on counting restarts.
    told_once, counting = told["note"], team.condition("broken")["message"]
    assert told_once.partition(", restarts: ")[0] == counting.partition(", restarts: ")[0]


def test_every_line_of_the_log_is_json_with_time_level_and_message(operator: Operator) -> None:
    records = [json.loads(line) for line in operator.log()]

    assert records
    assert all(record.keys() >= {"time", "level", "message"} for record in records)


def test_a_child_is_logged_once_when_it_is_made(team: Team, operator: Operator) -> None:
    records = [record for record in operator.records(NAME) if record["namespace"] == team.namespace]
    applied = Counter(record["object"] for record in records if record["message"] == "Applied")

    made = {f"Deployment/{team.child(NAME)}", f"ControllerRevision/{team.child(NAME)}", f"HTTPRoute/{NAME}"}
    assert made <= applied.keys()
    assert set(applied.values()) == {1}


def test_a_reconcile_that_changes_nothing_is_not_logged(team: Team, operator: Operator) -> None:
    def reconciles() -> float:
        return parse(operator.leader_metrics()).value("pilothouse_reconcile_total")

    before, counted = operator.records(NAME), reconciles()
    team.kubectl("annotate", "md", NAME, "example.com/looked-at=1")
    wait_for("a reconcile", lambda: reconciles() > counted)

    assert operator.records(NAME) == before


def test_the_metrics_tell_who_leads_and_how_reconciles_end(operator: Operator) -> None:
    metrics = operator.metrics()

    assert sorted("pilothouse_leader 1.0" in text for text in metrics) == [False, True]
    assert (
        'pilothouse_reconcile_total{controller="modeldeployment",result="done"}' in operator.leader_metrics()
    )


@pytest.mark.parametrize("value", [PLAIN, HIDDEN])
def test_no_value_of_an_environment_variable_is_told(team: Team, operator: Operator, value: str) -> None:
    conditions = [team.get("md", name)["status"] for name in (NAME, "broken")]
    told = [*operator.log(), *operator.metrics(), json.dumps(conditions), json.dumps(team.all("events"))]

    assert not [text for text in told if value in text]
