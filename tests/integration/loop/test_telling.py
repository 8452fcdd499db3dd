"""What the operator says: a line and an Event for each change, none for what stays, and no secrets."""

import json
import re

from harness.shell import wait_for
from integration.loop.conftest import StartOperator
from integration.loop.process import OperatorProcess
from integration.loop.team import Team

SECRET = "hunter2"  # noqa: S105 -- what must not be found


def _declare_with_secret(team: Team) -> None:
    image = "vllm/vllm-openai:v0.32.0"
    team.declare(engine={"image": image, "env": [{"name": "PASSWORD", "value": SECRET}]})
    team.wait_for_rest()


def test_one_line_is_logged_for_each_change_and_it_holds_no_value(
    operator: OperatorProcess, team: Team
) -> None:
    _declare_with_secret(team)
    lines = [line for line in operator.lines() if line["message"] == "Applied"]
    told = sorted(line["object"] for line in lines)
    assert told == sorted(f"{kind}/{name}" for kind, name in team.children())
    assert {line["name"] for line in lines} == {"qwen-coder"}
    assert SECRET not in operator.log.read_text()


def test_events_tell_the_reason_of_the_condition_once(operator: OperatorProcess, team: Team) -> None:
    _declare_with_secret(team)
    reason = team.condition("Ready")[1]
    before = operator.metric("pilothouse_reconcile_total")
    team.kubectl("annotate", "md", "qwen-coder", "look=again")
    wait_for("another look", lambda: operator.metric("pilothouse_reconcile_total") > before)
    events = json.loads(team.kubectl("get", "events.events.k8s.io", "--output=json"))["items"]
    ours = [event for event in events if event["reportingController"].startswith("pilothouse.dev/")]
    assert [event["reason"] for event in ours].count(reason) == 1
    assert {event["regarding"]["name"] for event in ours} == {"qwen-coder"}
    assert SECRET not in json.dumps(ours)


def test_only_the_metric_about_models_names_any_and_none_holds_a_value(
    operator: OperatorProcess, team: Team
) -> None:
    _declare_with_secret(team)
    text = operator.metrics()
    others = [line for line in text.splitlines() if not line.startswith("pilothouse_model_info")]
    labels = set(re.findall(r'(\w+)="', "\n".join(others)))
    assert labels & {"namespace", "name", "object"} == set()
    assert SECRET not in text
    # A reconcile counts as done once its status is written, which is seen first.
    wait_for("a reconcile", lambda: operator.metric("pilothouse_reconcile_total", result="done") >= 1)


def test_probes_tell_what_holds(start_operator: StartOperator) -> None:
    operator = start_operator().wait_ready()
    assert operator.probe("healthz") == 200
    assert operator.probe("elsewhere") == 404
