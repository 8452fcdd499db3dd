from typing import Any

import pytest

from builders import NOW, OTHER_COMMIT, model_deployment, observed, queue_class
from pilothouse.api.rolloutpolicy import BUILT_IN, RolloutPolicySpec
from pilothouse.names import Verdict
from pilothouse.plan.capacity import Size
from pilothouse.plan.measure import Arms, Measured, measured
from pilothouse.plan.readings import Reading
from rollout_scene import Scene, scene

FINISHED = {"vllm:request_success_total/stop": 100.0}
ARMS = Arms(canary="b", stable="a", ready=Size(1, 1), weight=5, proves=False)
OBJECTIVES = {"objectives": [{"metric": "Success", "ratio": 0.99}]}


def measure(*readings: Reading, source: str = "Scrape", unread: dict[str, str] | None = None) -> Measured:
    """Measure once, at the first sample."""
    prometheus: dict[str, Any] = {"prometheus": {"url": "http://prometheus"}}
    analysis = {"source": source, **(prometheus if source == "Prometheus" else {})}
    policy = RolloutPolicySpec.model_validate({**BUILT_IN.model_dump(by_alias=True), "analysis": analysis})
    seen = observed(
        model_deployment(), queue_class=queue_class(OBJECTIVES), readings=readings, unread=unread or {}
    )
    return measured(seen, policy, ARMS)


def reading(revision: str, *, fresh: bool = True) -> Reading:
    """One engine's counters."""
    return Reading(pod=f"pod-{revision}", revision=revision, at=NOW, counters=FINISHED, fresh=fresh)


@pytest.mark.parametrize(("source", "fresh"), [("Scrape", True), ("Prometheus", False)])
def test_readings_of_both_sides_are_counted(source: str, fresh: bool) -> None:  # noqa: FBT001 -- an example
    counted = measure(reading("a", fresh=fresh), reading("b", fresh=fresh), source=source)
    assert counted.sampling
    assert counted.sampling.sampled_at == NOW


def test_without_a_reading_of_one_side_nothing_is_counted_and_the_checks_say_why() -> None:
    blind = measure(reading("b"), unread={"pod-a": "no answer within 1 s"})
    assert blind.sampling is None
    assert {check.verdict for check in blind.checks} == {Verdict.ERROR}
    assert {check.message for check in blind.checks} == {"no measurement of revision a: no answer within 1 s"}


def test_while_prometheus_is_the_source_and_away_the_engines_own_word_is_not_counted() -> None:
    blind = measure(reading("a"), reading("b"), source="Prometheus", unread={"": "Prometheus: HTTP 503"})
    assert blind.sampling is None
    assert {check.message for check in blind.checks} == {
        "no measurement of revision b, a: Prometheus: HTTP 503"
    }


def test_an_engine_that_answers_without_its_counters_is_no_measurement() -> None:
    mute = Reading(pod="pod-b", revision="b", at=NOW)
    blind = measure(reading("a"), mute)
    assert {check.verdict for check in blind.checks} == {Verdict.ERROR}
    assert {check.message for check in blind.checks} == {
        "no measurement of revision b: an engine answers without its counters"
    }


def test_evidence_of_another_objective_does_not_count() -> None:
    started = scene(4)
    started.rate = 400
    started.edit({"model": {"checkpoint": {"revision": OTHER_COMMIT}}})
    started.reach(lambda seen: _samples(seen) > 100)
    stricter = {"objectives": [{"metric": "Success", "ratio": 0.999}]}

    started.change(queue_class=queue_class(stricter)).step()

    assert _samples(started) < 50


def _samples(seen: Scene) -> int:
    checks = (seen.status.get("rollout") or {}).get("checks", [])
    return int(next((check["samples"] for check in checks if check["name"] == "success"), 0))
