"""What engines did between two readings: each request is counted once or, where it must be, not at all."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, Object, queue_class
from counting import CANARY, STABLE, Engine
from pilothouse.api.rolloutpolicy import Analysis
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.plan import series
from pilothouse.plan.checks import counter_of
from pilothouse.plan.podcounters import PROMPT_LENGTHS
from pilothouse.plan.readings import Histogram, Reading
from pilothouse.plan.samples import Arm, Counts, PodSample, Sample
from pilothouse.plan.sampling import MOST_PODS, is_due, serving, take

INTERVAL = timedelta(seconds=5)
TTFT = {"metric": "TimeToFirstToken", "threshold": "500ms", "ratio": 0.95}
SUCCESS = {"metric": "Success", "ratio": 0.99}
LANE = queue_class({"objectives": [TTFT, SUCCESS]})
SLOW = 2.0


def through_the_api(status: SamplingStatus) -> SamplingStatus:
    """The status after a restart of the operator."""
    return SamplingStatus.model_validate_json(status.model_dump_json(by_alias=True, exclude_none=True))


@dataclass
class Sampler:
    """Takes samples every five seconds, and keeps nothing but the status."""

    warmup: int = 0
    now: Any = NOW
    status: SamplingStatus | None = None
    canary: str = CANARY
    stable: str = STABLE
    lane: Any = LANE
    definition: str = ""
    samples: list[Sample] = field(default_factory=list)

    def take(self, *engines: Engine) -> list[PodSample]:
        """What each pod did, once these were read."""
        self.now += INTERVAL
        return self.count(*(engine.reading(self.now) for engine in engines))

    def count(self, *readings: Reading) -> list[PodSample]:
        status, sample = take(
            self.status,
            readings,
            canary=self.canary,
            stable=self.stable,
            counts=counter_of(readings, self.lane, Analysis()),
            warmup=self.warmup,
            ready={self.canary: 1, self.stable: 3},
            now=self.now,
            definition=self.definition,
        )
        self.status = through_the_api(status)
        self.samples += [sample] if sample else []
        return list(sample.pods) if sample else []


def requests(pods: list[PodSample]) -> dict[str, float]:
    return {pod.pod: pod.requests for pod in pods}


def test_the_first_reading_is_compared_with_nothing() -> None:
    sampler = Sampler()
    sampler.take(Engine())
    assert not sampler.samples
    assert sampler.status


def test_a_sample_is_what_happened_since_the_last_one() -> None:
    canary, stable = Engine(), Engine("pod-2", STABLE)
    canary.serve(50)
    sampler = Sampler()
    sampler.take(canary, stable)
    canary.serve(7, prompt=400)
    canary.serve(2, seconds=SLOW, prompt=3000)
    canary.fail(1)
    stable.serve(4)
    mine, other = sampler.take(canary, stable)

    assert mine == PodSample(
        pod="pod-1",
        arm=Arm.CANARY,
        counts={"time-to-first-token": Counts(2, 9), "success": Counts(1, 10)},
        requests=10,
        prompt_tokens=8800,
        generation_tokens=270,
        prompt_lengths=(0, 7, 0, 0, 2, 0, 0),
        arrivals=10,
    )
    assert (other.arm, other.requests) == (Arm.STABLE, 4)
    [sample] = sampler.samples
    assert (sample.seconds, sample.canary_ready, sample.stable_ready) == (5, 1, 3)


def test_a_reading_that_comes_twice_adds_nothing() -> None:
    engine, sampler = Engine(), Sampler()
    sampler.take(engine)
    engine.serve(5)
    reading = engine.reading(NOW + 2 * INTERVAL)
    sampler.now += INTERVAL
    assert requests(sampler.count(reading)) == {"pod-1": 5}
    assert requests(sampler.count(reading)) == {}
    assert requests(sampler.take(engine)) == {"pod-1": 0}


def test_a_sample_just_before_a_restart_of_the_operator_is_counted_once() -> None:
    """A20: the status alone carries over; each sampler here forgets all else."""
    engine = Engine()
    first = Sampler()
    first.take(engine)
    engine.serve(5)
    first.take(engine)
    second = Sampler(status=first.status, now=first.now)
    engine.serve(3)
    assert requests(second.take(engine)) == {"pod-1": 3}


def test_a_reading_that_was_lost_is_caught_up_with() -> None:
    lost, other = Engine(), Engine("pod-2")
    sampler = Sampler()
    sampler.take(lost, other)
    lost.serve(5)
    sampler.take(other)
    lost.serve(2)
    assert requests(sampler.take(lost, other)) == {"pod-1": 7, "pod-2": 0}


def test_first_requests_of_a_new_pod_are_left_out_and_said_to_be() -> None:
    """A13."""
    engine, sampler = Engine(), Sampler(warmup=20)
    sampler.take(engine)
    engine.serve(19, seconds=SLOW)
    assert not sampler.take(engine)
    assert sampler.status
    assert (sampler.status.canary.warming, sampler.status.stable.warming) == (1, 0)
    engine.serve(1, seconds=SLOW)
    assert not sampler.take(engine)
    assert sampler.status.canary.warming == 0
    engine.serve(6)
    [pod] = sampler.take(engine)
    assert pod.counts["time-to-first-token"] == Counts(0, 6)


def test_a_pod_that_served_long_before_is_counted_from_its_first_reading_on() -> None:
    engine, sampler = Engine(revision=STABLE), Sampler(warmup=20)
    engine.serve(1000)
    sampler.take(engine)
    engine.serve(6)
    assert requests(sampler.take(engine)) == {"pod-1": 6}


def test_failures_are_first_requests_too() -> None:
    engine, sampler = Engine(), Sampler(warmup=20)
    sampler.take(engine)
    engine.fail(20)
    sampler.take(engine)
    engine.fail(6)
    [pod] = sampler.take(engine)
    assert pod.counts["success"] == Counts(6, 6)


@pytest.mark.parametrize("says_when", [True, False])
def test_a_restarted_engine_of_stable_warms_up_again(says_when: bool) -> None:  # noqa: FBT001
    """A13."""
    engine, sampler = Engine(revision=STABLE), Sampler(warmup=20)
    engine.started = engine.started if says_when else 0
    engine.serve(100)
    sampler.take(engine)
    engine.restart(at=2000 if says_when else 0)
    engine.serve(8, seconds=SLOW)
    assert not sampler.take(engine)
    assert sampler.status
    assert sampler.status.stable.warming == 1
    engine.serve(12, seconds=SLOW)
    assert not sampler.take(engine)
    engine.serve(3)
    assert requests(sampler.take(engine)) == {"pod-1": 3}


def test_an_engine_that_outran_its_former_counters_is_still_seen_to_be_restarted() -> None:
    engine, sampler = Engine(), Sampler()
    engine.serve(5)
    sampler.take(engine)
    engine.restart()
    engine.serve(9)
    assert not sampler.take(engine)


def test_a_count_that_seems_to_fall_is_not_counted_again_when_it_rises() -> None:
    engine, sampler = Engine(), Sampler()
    engine.fail(3)
    sampler.take(engine)
    engine.add(series.REFUSED)
    sampler.take(engine)
    engine.add(f"{series.HTTP_REQUESTS}/5xx")
    [pod] = sampler.take(engine)
    assert pod.counts["success"].bad == 0


def test_a_series_that_is_missing_leaves_its_check_out_and_is_caught_up_with() -> None:
    """A1."""
    engine, sampler = Engine(), Sampler()
    engine.serve(3)
    sampler.take(engine)
    engine.serve(5, seconds=SLOW)
    sampler.now += INTERVAL
    [pod] = sampler.count(replace(engine.reading(sampler.now), histograms={}))
    assert pod.counts == {"success": Counts(0, 5)}
    engine.serve(1)
    [pod] = sampler.take(engine)
    assert pod.counts == {"time-to-first-token": Counts(5, 6), "success": Counts(0, 1)}


def test_a_check_that_was_never_read_begins_when_it_is() -> None:
    engine, sampler = Engine(), Sampler()
    engine.serve(3)
    sampler.now += INTERVAL
    sampler.count(replace(engine.reading(sampler.now), histograms={}))
    engine.serve(5, seconds=SLOW)
    [pod] = sampler.take(engine)
    assert pod.counts == {"success": Counts(0, 5)}
    engine.serve(2)
    [pod] = sampler.take(engine)
    assert pod.counts["time-to-first-token"] == Counts(0, 2)


def test_an_error_count_that_comes_back_counts_no_error_again() -> None:
    """A1: what is not a number is left out, as if it were missing."""
    engine, sampler = Engine(), Sampler()
    engine.serve(100)
    engine.fail(50)
    sampler.take(engine)
    held = engine.counters.pop(f"{series.HTTP_REQUESTS}/5xx")
    sampler.take(engine)
    engine.counters[f"{series.HTTP_REQUESTS}/5xx"] = held
    [pod] = sampler.take(engine)
    assert pod.counts["success"] == Counts(0, 0)


def test_a_reading_that_says_nothing_counts_as_none() -> None:
    """A2."""
    engine, sampler = Engine(), Sampler()
    sampler.take(engine)
    engine.serve(5)
    sampler.now += INTERVAL
    assert not sampler.count(Reading("pod-1", CANARY, sampler.now))
    assert requests(sampler.take(engine)) == {"pod-1": 5}


def test_a_pod_that_changed_sides_begins_anew() -> None:
    engine, sampler = Engine(), Sampler()
    sampler.take(engine)
    engine.serve(5)
    sampler.canary, sampler.stable = "beef000000", CANARY
    assert not sampler.take(engine)
    engine.serve(2)
    [pod] = sampler.take(engine)
    assert (pod.arm, pod.requests) == (Arm.STABLE, 2)


def test_pods_of_other_revisions_are_passed_over() -> None:
    engine, sampler = Engine(revision="0ddba11000"), Sampler()
    sampler.take(engine)
    assert not sampler.take(engine)


def test_checks_that_mean_something_else_begin_anew() -> None:
    engine, sampler = Engine(), Sampler(definition="one")
    sampler.take(engine)
    engine.serve(5, seconds=SLOW)
    sampler.definition = "another"
    [pod] = sampler.take(engine)
    assert (pod.requests, pod.counts) == (5, {})
    engine.serve(3)
    [pod] = sampler.take(engine)
    assert pod.counts["time-to-first-token"] == Counts(0, 3)


def test_what_prometheus_says_of_a_revision_is_counted_without_warm_up() -> None:
    sampler = Sampler(warmup=20)

    def says(bad: float, total: float) -> list[PodSample]:
        sampler.now += INTERVAL
        readings = [Reading("", CANARY, sampler.now, queries={"mine": (bad, total)})]
        status, sample = take(
            sampler.status,
            readings,
            canary=CANARY,
            stable=STABLE,
            counts=lambda reading: {name: Counts(*pair) for name, pair in reading.queries.items()},
            warmup=sampler.warmup,
            ready={},
            now=sampler.now,
        )
        sampler.status = through_the_api(status)
        return list(sample.pods) if sample else []

    assert not says(3, 10)
    [pod] = says(4, 30)
    assert pod.counts == {"mine": Counts(1, 20)}
    assert not says(0, 5)
    [pod] = says(1, 6)
    assert pod.counts == {"mine": Counts(1, 1)}


def test_a_pod_that_is_gone_for_long_is_forgotten() -> None:
    gone, other = Engine(), Engine("pod-2")
    sampler = Sampler()
    sampler.take(gone, other)
    sampler.take(other)
    sampler.now += timedelta(minutes=10)
    sampler.take(other)
    assert sampler.status
    assert [pod.pod for pod in sampler.status.canary.pods] == ["pod-2"]


def test_no_more_pods_are_remembered_than_a_status_has_room_for_and_always_the_same() -> None:
    engines = [Engine(f"pod-{number:02}", STABLE) for number in range(20)]
    sampler = Sampler()
    sampler.take(*reversed(engines))
    for engine in engines:
        engine.serve(2)
    kept = [engine.pod for engine in engines][:MOST_PODS]
    assert [pod.pod for pod in sampler.take(*engines[5:], *engines[:5])] == kept


def test_a_known_pod_is_not_put_out_by_a_new_one() -> None:
    engines = [Engine(f"pod-{number:02}", STABLE) for number in range(20)]
    sampler = Sampler()
    sampler.take(*engines[4:])
    assert len(sampler.take(*engines)) == MOST_PODS


def test_pods_that_are_being_deleted_are_not_counted() -> None:
    """M8: what a drain cuts off is our own doing."""
    pods: list[Object] = [
        {"metadata": {"uid": "pod-1", "deletionTimestamp": "2026-11-23T12:00:00Z"}},
        {"metadata": {"uid": "pod-2"}},
    ]
    readings = [Engine("pod-1").reading(), Engine("pod-2").reading()]
    assert [reading.pod for reading in serving(readings, pods)] == ["pod-2"]


@pytest.mark.parametrize("seconds", [5, 60, -30])
def test_a_sample_is_due_when_its_interval_has_passed_or_the_clock_went_back(seconds: float) -> None:
    assert is_due(SamplingStatus(sampled_at=NOW), INTERVAL, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [0, 4.9])
def test_a_sample_is_not_due_before(seconds: float) -> None:
    assert not is_due(SamplingStatus(sampled_at=NOW), INTERVAL, NOW + timedelta(seconds=seconds))


def test_the_first_sample_is_due_at_once() -> None:
    assert is_due(None, INTERVAL, NOW)


def test_the_time_of_a_sample_keeps_its_milliseconds() -> None:
    status = through_the_api(SamplingStatus(sampled_at=NOW + timedelta(milliseconds=250)))
    assert status.sampled_at == NOW + timedelta(milliseconds=250)


def test_much_traffic_on_many_pods_with_many_checks_fits_a_status() -> None:
    readings = []
    for number in range(2 * MOST_PODS):
        uid = f"7f3a9c1d-20b4-4c55-9d0e-{number:012}"
        engine = Engine(uid, CANARY if number % 2 else STABLE, started=1_795_406_297, running=9, cache=0.81)
        engine.add(f"{series.FINISHED}/stop", 1_234_567)
        engine.add(series.PROMPT_TOKENS, 1_234_567_890)
        engine.add(series.GENERATION_TOKENS, 123_456_789)
        lengths = Histogram((*PROMPT_LENGTHS, inf), tuple(123_456.0 * each for each in range(1, 8)))
        readings.append(replace(engine.reading(), histograms={series.PROMPT_LENGTHS: lengths}))
    counts = {f"check-number-{number}": Counts(123_456, 1_234_567) for number in range(8)}
    status, _ = take(
        None,
        readings,
        canary=CANARY,
        stable=STABLE,
        counts=lambda _: counts,
        warmup=20,
        ready={},
        now=NOW,
    )
    assert len(status.canary.pods) == len(status.stable.pods) == MOST_PODS
    assert len(status.model_dump_json(by_alias=True, exclude_none=True)) < 10_000


PODS = ("a", "b", "c")
serves = st.tuples(st.just("serve"), st.sampled_from(PODS), st.integers(0, 9), st.integers(0, 3))
fails = st.tuples(st.just("fail"), st.sampled_from(PODS), st.integers(0, 3), st.just(0))
restarts = st.tuples(st.just("restart"), st.sampled_from(PODS), st.just(0), st.just(0))
reads = st.tuples(st.just("read"), st.permutations(PODS), st.integers(0, 3), st.just(0))
histories = st.lists(st.one_of(serves, serves, fails, restarts, reads, reads, reads), max_size=40)


@given(histories, st.integers(0, 12))
def test_whatever_happens_each_event_is_counted_once_or_for_a_reason_not_at_all(
    history: list[Any], warmup: int
) -> None:
    """A20. Counted is all between a life's first reading after its warm-up and its last reading."""
    engines = {pod: Engine(pod, CANARY if pod == "a" else STABLE) for pod in PODS}
    sampler = Sampler(warmup=warmup)
    lives: dict[tuple[str, float], list[tuple[int, int, int]]] = defaultdict(list)
    counted: dict[str, list[float]] = {pod: [0, 0, 0] for pod in PODS}

    for step, (event, which, number, slow) in enumerate(history):
        if event == "serve":
            engines[which].serve(number)
            engines[which].serve(slow, seconds=SLOW)
        elif event == "fail":
            engines[which].fail(number)
        elif event == "restart":
            engines[which].restart(at=2000 + step)
        else:
            read = [engines[pod] for pod in which[number:]]
            for engine in read:
                lives[engine.pod, engine.started].append(totals(engine))
            for pod in sampler.take(*read):
                latency, success = pod.counts["time-to-first-token"], pod.counts["success"]
                found = (pod.requests, latency.bad, success.bad)
                assert min(*found, *pod.prompt_lengths, pod.prompt_tokens) >= 0
                counted[pod.pod] = [sum(pair) for pair in zip(counted[pod.pod], found, strict=True)]

    expected: dict[str, list[float]] = {pod: [0, 0, 0] for pod in PODS}
    for (pod, _), found_totals in lives.items():
        warm = [each for each in found_totals if each[0] >= warmup]
        if warm:
            grown = [last - first for first, last in zip(warm[0], warm[-1], strict=True)]
            expected[pod] = [sum(pair) for pair in zip(expected[pod], grown, strict=True)]
    assert counted == expected


def totals(engine: Engine) -> tuple[int, int, int]:
    """Requests, slow ones and failed ones since the engine started."""
    failed = int(engine.counters.get(f"{series.HTTP_REQUESTS}/5xx", 0))
    slow = sum(seconds == SLOW for seconds in engine.first_tokens)
    return len(engine.first_tokens) + failed, slow, failed
