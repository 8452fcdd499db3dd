"""Failures that need no samples, on pods of a real Kubernetes and engines that count."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from builders import NOW, Object
from counting import CANARY, STABLE, Engine
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.names import REVISION, Reason
from pilothouse.plan import series
from pilothouse.plan.cause import Cause
from pilothouse.plan.hard import failure_of
from pilothouse.plan.sampling import take

PODS = Path(__file__).parent / "pods"


def pod(case: str, revision: str = CANARY, uid: str = "pod-1") -> Object:
    """A recorded pod, as one of this revision."""
    found: Object = copy.deepcopy(yaml.safe_load((PODS / f"{case}.yaml").read_text())["pods"][0])
    found["metadata"] |= {"uid": uid, "labels": {REVISION: revision}}
    return found


def engine_of(found: Object) -> Object:
    status: Object = found["status"]["containerStatuses"][0]
    return status


def sampled(at: datetime, *engines: Engine, before: SamplingStatus | None = None) -> SamplingStatus:
    """What is remembered once these engines were read."""
    status, _ = take(
        before,
        [engine.reading(at) for engine in engines],
        canary=CANARY,
        stable=STABLE,
        counts=lambda _: {},
        warmup=0,
        ready={},
        now=at,
    )
    return status


def failure(
    *pods: Object,
    engines: Sequence[Engine] = (),
    sampling: SamplingStatus | None = None,
    at: datetime = NOW,
) -> Cause | None:
    return failure_of(pods, [engine.reading(at) for engine in engines], sampling, CANARY, STABLE)


def reason(found: Cause | None) -> Reason | None:
    return found.reason if found else None


def test_an_engine_that_ends_after_it_served_is_a_failure() -> None:
    found = failure(pod("crashed"))
    assert found
    assert found.reason is Reason.ENGINE_CRASHED
    assert "code 1 (Error)" in found.message


def test_an_engine_that_was_killed_for_its_memory_is_a_failure_that_says_so() -> None:
    killed = pod("crashed")
    engine_of(killed)["lastState"]["terminated"] |= {"exitCode": 137, "reason": "OOMKilled"}
    found = failure(killed)
    assert found
    assert found.reason is Reason.ENGINE_CRASHED
    assert "OOMKilled" in found.message


def test_an_end_that_nobody_saw_is_a_failure_though_the_engine_serves_again() -> None:
    crashed = pod("crashed-then-silent")
    engine_of(crashed)["ready"] = True
    for condition in crashed["status"]["conditions"]:
        condition["status"] = "True"
    engine = Engine()
    seen = datetime.fromisoformat("2026-11-23T22:47:00Z")
    assert reason(failure(crashed, sampling=sampled(seen, engine))) is Reason.ENGINE_CRASHED
    later = seen + timedelta(minutes=1)
    assert failure(crashed, sampling=sampled(later, engine)) is None


def test_a_pod_that_failed_to_load_once_before_it_served_is_no_failure() -> None:
    assert failure(pod("restarted-after-crash")) is None


@pytest.mark.parametrize("word", ["Unknown", "ContainerStatusUnknown"])
def test_an_engine_that_was_lost_with_its_node_is_no_failure(word: str) -> None:
    lost = pod("crashed")
    engine_of(lost)["lastState"]["terminated"] |= {"exitCode": 255, "reason": word}
    assert failure(lost) is None


def test_a_pod_whose_node_fell_silent_is_no_failure() -> None:
    """The node controller takes Ready from the pod, and nobody from its container."""
    lost = pod("silent")
    engine_of(lost)["ready"] = True
    assert failure(lost) is None


@pytest.mark.parametrize("case", ["crashed", "silent", "out-of-memory"])
def test_what_happens_to_a_pod_that_is_deleted_or_evicted_is_no_failure(case: str) -> None:
    deleted, evicted = pod(case), pod(case)
    deleted["metadata"]["deletionTimestamp"] = "2026-11-23T23:00:00Z"
    evicted["status"]["phase"] = "Failed"
    assert failure(deleted, evicted) is None


@pytest.mark.parametrize("case", ["crashed", "silent", "out-of-memory"])
def test_what_happens_to_stable_is_not_the_canarys_failure(case: str) -> None:
    assert failure(pod(case, STABLE), pod("serving")) is None


@pytest.mark.parametrize("case", ["loading", "serving", "gpu-missing", "image-missing", "too-slow"])
def test_pods_that_load_serve_or_wait_are_no_failure(case: str) -> None:
    assert failure(pod(case)) is None


def test_an_engine_that_never_loads_is_a_failure_from_its_second_restart_on() -> None:
    loading = pod("crash-at-load")
    assert reason(failure(loading)) is Reason.MODEL_LOAD_FAILED
    engine_of(loading)["restartCount"] = 1
    assert failure(loading) is None


def test_running_out_of_memory_at_each_load_is_a_failure_that_says_so() -> None:
    found = failure(pod("out-of-memory"))
    assert found
    assert found.reason is Reason.MODEL_LOAD_FAILED
    assert "OOMKilled" in found.message


def test_a_probe_that_fails_after_it_passed_is_a_failure() -> None:
    """G4: one of two pods is enough."""
    found = failure(pod("serving", uid="pod-2"), pod("silent"))
    assert found
    assert found.reason is Reason.ENGINE_NOT_READY
    assert "/health does not answer" in found.message


def test_a_probe_that_fails_on_both_sides_is_not_the_canarys_failure() -> None:
    assert failure(pod("silent"), pod("silent", STABLE, "pod-2")) is None


@dataclass
class Traffic:
    """A canary's engine and stable's, which have been read just now."""

    canary: Engine = field(default_factory=Engine)
    stable: Engine = field(default_factory=lambda: Engine("pod-2", STABLE))
    sampling: SamplingStatus | None = None
    at: datetime = NOW

    def sample(self, seconds: float = 5) -> None:
        """Count both."""
        self.at += timedelta(seconds=seconds)
        self.sampling = sampled(self.at, self.canary, self.stable, before=self.sampling)

    def failure(self, seconds: float = 1, *, alone: bool = False) -> Cause | None:
        """What is found so many seconds after the last sample, with stable read too or not."""
        read = [self.canary] if alone else [self.canary, self.stable]
        return failure(engines=read, sampling=self.sampling, at=self.at + timedelta(seconds=seconds))


@pytest.fixture
def traffic() -> Traffic:
    found = Traffic()
    found.stable.serve(1000)
    found.sample()
    return found


def test_three_errors_and_nothing_else_are_a_storm(traffic: Traffic) -> None:
    traffic.canary.fail(3)
    found = traffic.failure()
    assert found
    assert found.reason is Reason.ERROR_STORM
    assert "3 of the canary's last 3 requests failed" in found.message


def test_two_errors_are_none(traffic: Traffic) -> None:
    traffic.canary.fail(2)
    assert traffic.failure() is None


def test_errors_of_the_engine_are_a_storm_as_well(traffic: Traffic) -> None:
    traffic.canary.serve(3, reason="error")
    assert reason(traffic.failure()) is Reason.ERROR_STORM


def test_every_fifth_request_failing_is_a_storm_within_five_seconds(traffic: Traffic) -> None:
    """A10, at six requests a second."""
    traffic.canary.serve(24)
    traffic.canary.fail(6)
    traffic.stable.serve(270)
    assert reason(traffic.failure(5)) is Reason.ERROR_STORM


def test_three_isolated_errors_in_two_hundred_are_no_storm(traffic: Traffic) -> None:
    """A11."""
    for errors in (1, 0, 1, 0, 1):
        traffic.canary.serve(40 - errors)
        traffic.canary.fail(errors)
        traffic.stable.serve(400)
        assert traffic.failure() is None
        traffic.sample()
        assert traffic.failure() is None


def test_three_errors_in_two_hundred_at_once_are_no_storm(traffic: Traffic) -> None:
    """A11."""
    traffic.canary.serve(197)
    traffic.canary.fail(3)
    assert traffic.failure() is None


def test_one_error_in_ten_is_left_to_the_checks(traffic: Traffic) -> None:
    traffic.canary.serve(180)
    traffic.canary.fail(20)
    assert traffic.failure() is None


def test_a_slow_trickle_of_errors_and_nothing_else_becomes_a_storm(traffic: Traffic) -> None:
    traffic.canary.fail(2)
    assert traffic.failure() is None
    traffic.sample()
    traffic.canary.fail(1)
    assert reason(traffic.failure()) is Reason.ERROR_STORM


def test_a_calm_sample_ends_what_looked_like_a_storm(traffic: Traffic) -> None:
    traffic.canary.fail(2)
    traffic.sample()
    traffic.canary.serve(20)
    traffic.sample()
    traffic.canary.fail(2)
    assert traffic.failure() is None


def test_a_sample_with_few_errors_is_a_calm_one(traffic: Traffic) -> None:
    traffic.canary.serve(10)
    traffic.canary.fail(2)
    traffic.sample()
    traffic.canary.fail(2)
    assert traffic.failure() is None


def test_errors_that_could_not_be_read_for_once_are_no_storm_when_they_can(traffic: Traffic) -> None:
    traffic.canary.serve(100)
    traffic.canary.fail(10)
    traffic.sample()
    held = traffic.canary.counters.pop(f"{series.HTTP_REQUESTS}/5xx")
    traffic.sample()
    traffic.canary.counters[f"{series.HTTP_REQUESTS}/5xx"] = held
    assert traffic.failure() is None


def test_a_storm_in_which_stable_is_too_is_not_the_canarys(traffic: Traffic) -> None:
    traffic.canary.fail(5)
    traffic.stable.serve(5)
    traffic.stable.fail(40)
    assert traffic.failure() is None


def test_a_storm_that_both_were_in_is_not_held_against_the_canary_later(traffic: Traffic) -> None:
    traffic.canary.fail(5)
    traffic.stable.fail(20)
    traffic.sample()
    traffic.stable.serve(2000)
    traffic.sample()
    traffic.canary.fail(1)
    assert traffic.failure() is None


def test_a_storm_that_is_over_is_no_failure(traffic: Traffic) -> None:
    traffic.canary.fail(5)
    traffic.sample()
    assert traffic.failure() is None


def test_a_share_of_errors_that_stable_has_always_had_is_no_storm(traffic: Traffic) -> None:
    traffic.stable.fail(400)
    traffic.sample()
    traffic.canary.serve(5)
    traffic.canary.fail(3)
    traffic.stable.serve(20)
    assert traffic.failure() is None


def test_a_few_errors_of_few_requests_prove_nothing_of_a_young_stable() -> None:
    traffic = Traffic()
    traffic.sample()
    traffic.canary.serve(12)
    traffic.canary.fail(3)
    assert traffic.failure() is None


def test_a_storm_waits_to_hear_of_stable_but_not_for_long(traffic: Traffic) -> None:
    traffic.canary.fail(50)
    assert traffic.failure(4, alone=True) is None
    assert reason(traffic.failure(5, alone=True)) is Reason.ERROR_STORM


def test_a_storm_is_told_where_stable_has_no_pods() -> None:
    traffic = Traffic()
    traffic.sampling = sampled(NOW, traffic.canary)
    traffic.canary.fail(3)
    assert reason(traffic.failure(alone=True)) is Reason.ERROR_STORM


def test_a_full_queue_and_clients_that_leave_are_no_storm(traffic: Traffic) -> None:
    """M8."""
    traffic.canary.refuse(40)
    traffic.canary.serve(40, reason="abort")
    assert traffic.failure() is None


def test_errors_of_a_pod_that_is_being_deleted_are_no_storm(traffic: Traffic) -> None:
    """M8: a drain refuses and cuts off."""
    ending = pod("serving")
    ending["metadata"]["deletionTimestamp"] = "2026-11-23T23:00:00Z"
    traffic.canary.fail(30)
    readings = [engine.reading(traffic.at) for engine in (traffic.canary, traffic.stable)]
    assert failure_of([ending], readings, traffic.sampling, CANARY, STABLE) is None


def test_errors_from_before_the_last_sample_are_not_counted_again(traffic: Traffic) -> None:
    """A20."""
    traffic.canary.serve(30)
    traffic.canary.fail(3)
    traffic.sample()
    traffic.canary.fail(1)
    assert traffic.failure() is None


def test_a_storm_is_seen_while_first_requests_are_left_out(traffic: Traffic) -> None:
    assert traffic.sampling
    canary = traffic.sampling.canary
    warming = tuple(known.model_copy(update={"warming": True}) for known in canary.pods)
    side = canary.model_copy(update={"pods": warming})
    traffic.sampling = traffic.sampling.model_copy(update={"canary": side})
    traffic.canary.fail(3)
    assert reason(traffic.failure()) is Reason.ERROR_STORM


def test_without_a_reading_to_compare_with_there_is_no_storm() -> None:
    engine = Engine()
    engine.fail(50)
    assert failure(engines=[engine]) is None
    assert failure(engines=[engine], sampling=sampled(NOW, Engine("pod-2", STABLE))) is None


@pytest.mark.parametrize(("running", "waiting"), [(3, 0), (0, 1)])
def test_an_engine_that_has_requests_and_does_nothing_hangs(
    traffic: Traffic, running: int, waiting: int
) -> None:
    traffic.canary.running, traffic.canary.waiting = running, waiting
    traffic.sample()
    traffic.stable.serve(40)
    traffic.sample()
    assert traffic.failure(4) is None
    found = failure(
        pod("serving"),
        engines=[traffic.canary],
        sampling=traffic.sampling,
        at=traffic.at + timedelta(seconds=5),
    )
    assert found
    assert found.reason is Reason.ENGINE_NOT_READY
    assert found.message.endswith("the engine has had requests for 10s and done nothing")
    assert found.message.startswith("serving-")


@pytest.mark.parametrize("sign", ["idle", "token", "prefill", "end"])
def test_an_engine_that_rests_or_moves_does_not_hang(traffic: Traffic, sign: str) -> None:
    traffic.canary.running = 0 if sign == "idle" else 3
    traffic.sample()
    traffic.sample()
    traffic.canary.running = 3
    if sign == "token":
        traffic.canary.add(series.GENERATION_TOKENS)
    if sign == "prefill":
        traffic.canary.cache += 0.01
    if sign == "end":
        traffic.canary.serve(reason="abort")
    assert traffic.failure(30) is None


def test_an_engine_has_longer_for_its_first_requests(traffic: Traffic) -> None:
    traffic.canary.running = 1
    traffic.sampling = None
    status, _ = take(
        None,
        [traffic.canary.reading(traffic.at)],
        canary=CANARY,
        stable=STABLE,
        counts=lambda _: {},
        warmup=20,
        ready={},
        now=traffic.at,
    )
    traffic.sampling = status
    assert traffic.failure(59) is None
    assert reason(traffic.failure(60)) is Reason.ENGINE_NOT_READY


def test_engines_that_hang_on_both_sides_are_not_the_canarys_failure(traffic: Traffic) -> None:
    traffic.canary.running = traffic.stable.running = 3
    traffic.sample()
    traffic.sample()
    assert traffic.failure(30) is None


def test_what_may_be_old_proves_no_hang(traffic: Traffic) -> None:
    traffic.canary.running = 3
    traffic.sample()
    stale = replace(traffic.canary.reading(traffic.at + timedelta(seconds=60)), fresh=False)
    assert failure_of([], [stale], traffic.sampling, CANARY, STABLE) is None


def test_the_first_symptom_in_order_is_told(traffic: Traffic) -> None:
    traffic.canary.fail(30)
    found = failure(
        pod("silent"),
        pod("crashed", uid="pod-3"),
        engines=[traffic.canary, traffic.stable],
        sampling=traffic.sampling,
        at=traffic.at,
    )
    assert reason(found) is Reason.ENGINE_CRASHED
