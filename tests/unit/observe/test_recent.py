"""What an engine fails by is found as soon, however rare the policy's samples are."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from builders import NOW, Object, model_deployment, observed
from counting import CANARY, STABLE, Engine
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.names import Reason
from pilothouse.observe.recent import Recent
from pilothouse.plan.cause import Cause
from pilothouse.plan.hard import failure_of
from pilothouse.plan.observed import Observed
from rollout_scene import policy

STATUS: Object = {
    "stable": {"revision": STABLE},
    "canary": {"revision": CANARY, "weight": {"desired": 5}},
    "rollout": {"state": "Holding"},
}


@dataclass
class Rollout:
    """A rollout whose engines are looked at each second."""

    recent: Recent = field(default_factory=Recent)
    canary: Engine = field(default_factory=Engine)
    stable: Engine = field(default_factory=lambda: Engine("pod-2", STABLE))
    interval: str = "5m"
    fresh: bool = True
    seconds: int = 0

    def look(self, name: str = "qwen-coder") -> SamplingStatus | None:
        """Look once, a second later; return what was counted before."""
        self.seconds += 1
        return self.recent(self._seen(name))

    def failure(self) -> Cause | None:
        """Look once, and say what has failed."""
        before = self.look()
        return failure_of([], self._seen().readings, before, CANARY, STABLE)

    def _seen(self, name: str = "qwen-coder") -> Observed:
        at = NOW + timedelta(seconds=self.seconds)
        engines = (self.canary, self.stable)
        return observed(
            model_deployment(status=STATUS, name=name),
            policy=policy(analysis={"interval": self.interval}),
            readings=tuple(replace(engine.reading(at), fresh=self.fresh) for engine in engines),
            now=at,
        )


def test_a_storm_is_found_within_seconds_of_good_traffic() -> None:
    rollout = Rollout()
    for _ in range(60):
        rollout.canary.serve(100)
        rollout.stable.serve(1000)
        assert rollout.failure() is None
    found = []
    for _ in range(4):
        rollout.canary.serve(50)
        rollout.canary.fail(50)
        found.append(rollout.failure())
    assert any(cause and cause.reason is Reason.ERROR_STORM for cause in found)


def test_a_trickle_of_errors_and_nothing_else_adds_up_to_a_storm() -> None:
    rollout = Rollout()
    rollout.stable.serve(1000)
    rollout.look()
    found = []
    for second in range(18):
        if second % 6 == 5:
            rollout.canary.fail(1)
        found.append(rollout.failure())
    assert [cause.reason for cause in found if cause] == [Reason.ERROR_STORM]


def test_an_engine_that_hangs_is_found_after_seconds() -> None:
    rollout = Rollout()
    for _ in range(30):
        rollout.canary.serve(10)
        rollout.stable.serve(10)
        assert rollout.failure() is None
    rollout.canary.running = 3
    found = []
    for _ in range(17):
        rollout.stable.serve(10)
        found.append(rollout.failure())
    assert found[8] is None
    assert found[-1]
    assert found[-1].reason is Reason.ENGINE_NOT_READY


def test_where_samples_are_as_frequent_nothing_is_counted_twice() -> None:
    rollout = Rollout(interval="5s")
    assert [rollout.look() for _ in range(12)] == [None] * 12


def test_what_prometheus_scraped_some_time_ago_is_not_counted() -> None:
    rollout = Rollout(fresh=False)
    assert [rollout.look() for _ in range(12)] == [None] * 12


def test_what_nobody_looks_at_any_more_is_forgotten() -> None:
    rollout = Rollout()
    rollout.look()
    assert rollout.look()
    for _ in range(90):
        rollout.look("another")
    assert rollout.look() is None


def test_each_rollout_is_counted_by_itself() -> None:
    rollout = Rollout()
    rollout.look()
    assert rollout.look("another") is None
