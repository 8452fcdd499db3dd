"""What is as it should be is left alone: nothing is written but the Lease."""

import json

from harness.shell import wait_for
from integration.loop.conftest import StartOperator
from integration.loop.process import OperatorProcess
from integration.loop.team import Team
from pilothouse.plan.observed import Object

NAMES = tuple(f"model-{number}" for number in range(8))


def _items(team: Team) -> list[Object]:
    kinds = "md,deployments,services,poddisruptionbudgets,controllerrevisions.apps,httproutes"
    items: list[Object] = json.loads(team.kubectl("get", kinds, "--output=json"))["items"]
    return items


def _versions(team: Team) -> dict[str, str]:
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in _items(team)
    }


def _is_observed(item: Object) -> bool:
    """Tell whether the controller that writes this object's status has done so."""
    if item["kind"] not in {"Deployment", "PodDisruptionBudget"}:
        return True
    return item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]


def _declare_all(team: Team) -> None:
    for name in NAMES:
        team.declare(name)
    for name in NAMES:
        team.wait_for_rest(name)


def _wait_for_silence(team: Team) -> dict[str, str]:
    """Wait until nobody, Kubernetes' own controllers included, has anything left to write."""
    seen: dict[str, str] = {}

    def is_silent() -> bool:
        nonlocal seen
        before, seen = seen, _versions(team)
        return before == seen and all(map(_is_observed, _items(team)))

    wait_for("silence", is_silent, pause=2)
    return seen


def _wait_for_an_idle_resync(operator: OperatorProcess) -> None:
    """Wait until all was looked at from its beginning to its end and nothing was left to write."""

    def is_idle() -> bool:
        writes, resyncs = operator.writes(), _resyncs(operator)
        wait_for("a resync that began after this", lambda: _resyncs(operator) >= resyncs + 2)
        return operator.writes() == writes

    wait_for("an idle resync", is_idle)


def test_at_rest_nothing_is_written_but_the_lease(start_operator: StartOperator, team: Team) -> None:
    operator = start_operator(RESYNC_SECONDS="1").wait_ready().wait_leading()
    _declare_all(team)
    _wait_for_an_idle_resync(operator)
    before, writes = _wait_for_silence(team), operator.writes()
    resyncs, renewals = _resyncs(operator), operator.metric("pilothouse_api_requests_total", kind="Lease")
    missed = operator.metric("pilothouse_resync_missed_changes_total")
    wait_for("ten resyncs", lambda: _resyncs(operator) >= resyncs + 10)
    assert operator.writes() == writes
    assert _versions(team) == before
    assert operator.metric("pilothouse_api_requests_total", kind="Lease") > renewals
    assert operator.metric("pilothouse_resync_missed_changes_total") == missed


def test_a_restart_writes_nothing(start_operator: StartOperator, team: Team) -> None:
    first = start_operator("first").wait_ready().wait_leading()
    _declare_all(team)
    before = _wait_for_silence(team)
    assert first.terminate() == 0
    second = start_operator("second").wait_ready().wait_leading()
    wait_for("all to be looked at", lambda: second.metric("pilothouse_reconcile_total") >= len(NAMES))
    wait_for("its watches", lambda: second.metric("pilothouse_watch_events_total") >= len(before))
    assert second.writes() == 0
    assert _versions(team) == before
    assert [line for line in second.lines() if line["message"] == "Applied"] == []


def _resyncs(operator: OperatorProcess) -> float:
    return operator.metric("pilothouse_resync_total", result="success")
