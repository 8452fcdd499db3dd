"""Which engines are read, how often, and which of two sources counts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders import model_deployment
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.rolloutpolicy import BUILT_IN, RolloutPolicySpec
from pilothouse.observe.measure import Measure
from pilothouse.observe.measured import Measured
from pilothouse.observe.targets import rolls_out, sampled, watched
from pilothouse.plan.observed import Object
from pilothouse.plan.readings import Reading
from pilothouse.plan.sampling import MOST_PODS
from unit.observe.engines import pod

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CANARY, OTHER_CANARY = pod("10.0.0.1", "bbbbbbbbbb"), pod("10.0.0.2", "bbbbbbbbbb")
STABLE = pod("10.0.0.3", "aaaaaaaaaa")
FORMER = pod("10.0.0.4", "cccccccccc")
PODS = [FORMER, STABLE, OTHER_CANARY, CANARY]
INTERVAL = timedelta(seconds=BUILT_IN.analysis.interval.seconds)
SCRAPED, ASKED = (
    Measured((Reading(pod="10.0.0.1", revision=each, at=NOW),)) for each in ("scraped", "asked")
)
DOWN = Measured(unread={"": "Prometheus: HTTP 503"})


def rolling_out(
    weight: int = 5, state: str = "Holding", sampled_ago: timedelta | None = None
) -> ModelDeployment:
    """A ModelDeployment with a canary; `sampled_ago` is None before the first sample."""
    rollout: Object = {"state": state}
    if sampled_ago is not None:
        rollout["sampling"] = {"sampledAt": (NOW - sampled_ago).isoformat()}
    return model_deployment(
        status={
            "stable": {"revision": "aaaaaaaaaa"},
            "canary": {"revision": "bbbbbbbbbb", "weight": {"desired": weight}},
            "rollout": rollout,
        }
    )


def names(pods: Sequence[Object]) -> list[str]:
    """The addresses of pods."""
    return [each["metadata"]["uid"] for each in pods]


@pytest.mark.parametrize("state", ["Starting", "Preflight", "Shifting", "Holding", "Paused", "Baking"])
def test_a_canary_with_pods_rolls_out(state: str) -> None:
    assert rolls_out(rolling_out(state=state))


@pytest.mark.parametrize("state", ["Waiting", "Draining"])
def test_a_canary_that_waits_or_is_gone_does_not(state: str) -> None:
    assert not rolls_out(rolling_out(state=state))


def test_a_model_at_rest_does_not_roll_out() -> None:
    assert not rolls_out(model_deployment(status={"stable": {"revision": "aaaaaaaaaa"}}))


@pytest.mark.parametrize(("weight", "read"), [(0, []), (5, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])])
def test_a_canary_is_watched_while_it_has_traffic_with_stable_as_a_witness(
    weight: int, read: list[str]
) -> None:
    assert names(watched(rolling_out(weight), PODS)) == read


def test_of_a_large_stable_a_few_are_witness_enough() -> None:
    many = [pod(f"10.0.1.{number:03}", "aaaaaaaaaa") for number in range(40)]
    assert names(watched(rolling_out(), [CANARY, *many])) == ["10.0.0.1", "10.0.1.000", "10.0.1.001"]


def test_both_sides_are_sampled_and_nobody_else() -> None:
    assert names(sampled(rolling_out(0), PODS)) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def unready() -> Object:
    """A pod whose probe fails."""
    return {**STABLE, "status": {**STABLE["status"], "conditions": [{"type": "Ready", "status": "False"}]}}


def pending() -> Object:
    """A pod without a node."""
    return {**STABLE, "status": {"phase": "Pending"}}


def leaving() -> Object:
    """A pod that is being deleted."""
    return {**STABLE, "metadata": {**STABLE["metadata"], "deletionTimestamp": "2026-11-24T00:00:00Z"}}


@pytest.mark.parametrize("obj", [unready(), pending(), leaving()], ids=["unready", "pending", "leaving"])
def test_a_pod_that_can_get_no_requests_is_not_read(obj: Object) -> None:
    assert sampled(rolling_out(), [obj]) == []


def test_of_many_pods_the_first_by_uid_are_read_so_that_they_stay_the_same() -> None:
    many = [pod(f"10.0.1.{number:03}", "aaaaaaaaaa") for number in range(40)]
    assert names(sampled(rolling_out(), many[::-1])) == [f"10.0.1.{number:03}" for number in range(MOST_PODS)]


class Sources:
    """Engines and a Prometheus that answer as told, and what they were asked for."""

    def __init__(self, prometheus: Measured = ASKED) -> None:
        self.answer = prometheus
        self.scraped: list[str] = []
        self.asked: list[str] = []

    async def measure(self, deployment: ModelDeployment, source: str = "Scrape", **analysis: Any) -> Measured:
        """Measure once by a policy."""
        spec = {**BUILT_IN.model_dump(by_alias=True), "analysis": {"source": source, **analysis}}
        policy = RolloutPolicySpec.model_validate(spec)
        return await Measure(self._scrape, self._ask)(deployment, policy, PODS, NOW)  # type: ignore[arg-type]

    async def _scrape(self, pods: Sequence[Object]) -> Measured:
        self.scraped = names(pods)
        return SCRAPED if pods else Measured()

    async def _ask(self, question: Any, _: object) -> Measured:
        self.asked = names(question.pods)
        return self.answer


URL = {"prometheus": {"url": "http://prometheus"}}
NOT_DUE = rolling_out(sampled_ago=INTERVAL / 2)


async def test_pods_of_both_sides_are_read_when_a_sample_is_due() -> None:
    sources = Sources()
    assert await sources.measure(rolling_out(sampled_ago=INTERVAL)) == SCRAPED
    assert sources.scraped == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


async def test_prometheus_is_not_asked_in_between() -> None:
    sources = Sources()
    assert await sources.measure(NOT_DUE, "Prometheus", **URL) == SCRAPED
    assert sources.asked == []


async def test_checks_with_queries_are_asked_for_beside_the_scrape() -> None:
    sources = Sources(DOWN)
    measured = await sources.measure(rolling_out(), **URL)
    assert (measured.readings, measured.unread) == (SCRAPED.readings, DOWN.unread)


async def test_what_prometheus_says_is_not_mixed_with_what_the_engines_say() -> None:
    assert await Sources().measure(rolling_out(), "Prometheus", **URL) == ASKED


async def test_a_canary_is_watched_directly_while_prometheus_is_down() -> None:
    sources = Sources(DOWN)
    measured = await sources.measure(rolling_out(), "Prometheus", **URL)
    assert (measured.readings, measured.unread) == (SCRAPED.readings, DOWN.unread)
    assert "10.0.0.1" in sources.scraped


async def test_a_policy_that_is_gone_leaves_the_canary_watched() -> None:
    sources = Sources()
    measured = await Measure(sources._scrape, sources._ask)(NOT_DUE, None, PODS, NOW)  # type: ignore[arg-type]  # noqa: SLF001
    assert measured == SCRAPED
