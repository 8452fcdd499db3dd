"""What is counted, read from the /metrics that vLLM 0.32.0 printed and from engines that tests make."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, queue_class
from counting import CANARY, Engine, histogram
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import Analysis
from pilothouse.names import REVISION
from pilothouse.observe.exposition import read
from pilothouse.observe.series import reading_of
from pilothouse.plan import series
from pilothouse.plan.checks import checks_of, counter_of, counts_of, definition_of
from pilothouse.plan.readings import Reading
from pilothouse.plan.samples import Counts

RECORDED = Path(__file__).parents[2] / "contract" / "data" / "metrics-0.32.0.txt"
TTFT = {"metric": "TimeToFirstToken", "threshold": "400ms", "ratio": 0.95}
ITL = {"metric": "InterTokenLatency", "threshold": "25ms", "ratio": 0.9}
E2E = {"metric": "EndToEndLatency", "threshold": "500ms", "ratio": 0.9}
QUEUE = {"metric": "QueueTime", "threshold": "1s", "ratio": 0.99}
SUCCESS = {"metric": "Success", "ratio": 0.99}
LENGTH = {"name": "cut", "metric": "FinishReasonLength", "maxIncrease": 0.02}
PREEMPTED = {"name": "preempted", "metric": "Preemption", "maxIncrease": 0.05}
QUERIED = {"name": "mine", "prometheus": {"bad": "b", "total": "t"}, "maxIncrease": 0.1}


def lane(*objectives: Any) -> QueueClass:
    return queue_class({"objectives": list(objectives)})


def analysis(*checks: Any) -> Analysis:
    return Analysis.model_validate({"checks": list(checks), "prometheus": {"url": "http://prometheus:9090"}})


def recorded() -> Reading:
    """The real engine after three requests of at most five tokens; four more were the client's mistakes."""
    pod = {"metadata": {"uid": "pod-1", "labels": {REVISION: CANARY}}}
    return reading_of(pod, NOW, read(RECORDED.read_text()))


def counted(reading: Reading, *objectives: Any, checks: tuple[Any, ...] = ()) -> list[Counts]:
    return list(counts_of(reading, lane(*objectives), analysis(*checks)).values())


def test_the_buckets_that_notes_speak_of_are_those_of_the_engine() -> None:
    found = {name: recorded().histograms[name].edges[:-1] for name in series.EDGES}
    assert found == series.EDGES


def test_every_check_is_answered_by_what_the_real_engine_printed() -> None:
    found = counts_of(recorded(), lane(TTFT, ITL, E2E, QUEUE, SUCCESS), analysis(LENGTH, PREEMPTED))
    assert found == {
        "time-to-first-token": Counts(0, 3),
        "inter-token-latency": Counts(0, 12),
        "end-to-end-latency": Counts(0, 3),
        "queue-time": Counts(0, 3),
        "success": Counts(0, 3),
        "cut": Counts(3, 3),
        "preempted": Counts(0, 3),
    }


def test_real_answers_above_a_threshold_are_bad() -> None:
    fast = {**TTFT, "threshold": "40ms"}
    assert counted(recorded(), fast, {**ITL, "threshold": "10ms"}) == [Counts(1, 3), Counts(2, 12)]


def test_objectives_come_first_and_then_the_checks_of_the_policy() -> None:
    found = checks_of(lane(SUCCESS, TTFT), analysis(PREEMPTED, LENGTH, QUERIED))
    assert [(check.name, check.compares_load) for check in found] == [
        ("success", False),
        ("time-to-first-token", True),
        ("preempted", True),
        ("cut", False),
        ("mine", False),
    ]


def test_an_objective_allows_what_its_ratio_leaves_and_a_check_what_it_names() -> None:
    objective, check = checks_of(lane(TTFT), analysis(LENGTH))
    assert (objective.margin, objective.objective) == (pytest.approx(0.05), pytest.approx(0.05))
    assert (check.margin, check.objective) == (0.02, None)


def test_two_objectives_of_one_metric_are_told_apart_by_their_thresholds() -> None:
    slow = {"metric": "TimeToFirstToken", "threshold": "2s", "ratio": 0.999}
    names = [check.name for check in checks_of(lane(TTFT, slow, SUCCESS), analysis())]
    assert names == ["time-to-first-token-400ms", "time-to-first-token-2s", "success"]


def test_no_two_checks_share_a_name() -> None:
    named = {**LENGTH, "name": "success"}
    names = [check.name for check in checks_of(lane(TTFT, TTFT, SUCCESS), analysis(named))]
    assert len(set(names)) == len(names) == 4
    assert list(counts_of(Engine().reading(), lane(TTFT, TTFT, SUCCESS), analysis(named))) == names


def test_a_threshold_between_two_edges_is_judged_at_the_upper_one_and_the_check_says_so() -> None:
    engine = Engine()
    for seconds in (0.3, 0.45, 0.5, 0.51):
        engine.serve(seconds=seconds)
    assert counted(engine.reading(), TTFT) == [Counts(1, 4)]
    [check] = checks_of(lane(TTFT), analysis())
    assert check.note == "judged at 0.5s, the bucket edge above 400ms"


@pytest.mark.parametrize("threshold", ["250ms", "60ms", "1s", "7s500ms"])
def test_a_threshold_on_an_edge_is_judged_there_without_a_note(threshold: str) -> None:
    [check] = checks_of(lane({**TTFT, "threshold": threshold}), analysis())
    assert not check.note


def test_a_threshold_beyond_all_edges_is_judged_at_the_last_and_the_check_says_so() -> None:
    [check] = checks_of(lane({**ITL, "threshold": "2m"}), analysis())
    assert check.note == "judged at 80s, the last bucket edge, below 2m"


def test_an_engine_with_buckets_of_its_own_is_judged_by_these() -> None:
    own = {series.FIRST_TOKEN: histogram((0.3, 0.4), [0.35, 0.38, 0.41])}
    assert counted(replace(Engine().reading(), histograms=own), TTFT) == [Counts(1, 3)]


def test_a_latency_is_left_out_while_both_sides_buckets_differ_at_its_threshold() -> None:
    usual = Engine().reading()
    own = replace(usual, histograms={series.FIRST_TOKEN: histogram((0.3, 0.4), [0.35])})
    counter = counter_of((usual, own), lane(TTFT, SUCCESS), analysis())
    assert [list(counter(reading)) for reading in (usual, own)] == [["success"], ["success"]]


def test_buckets_that_differ_elsewhere_do_no_harm() -> None:
    usual = Engine().reading()
    own = replace(usual, histograms={series.FIRST_TOKEN: histogram((0.5, 3.0), [0.35])})
    counter = counter_of((usual, own), lane(TTFT), analysis())
    assert counter(own) == {"time-to-first-token": Counts(0, 1)}


def test_errors_of_the_engine_and_of_its_server_are_no_success() -> None:
    engine = Engine()
    engine.serve(6)
    engine.serve(2, reason="length")
    engine.serve(1, reason="error")
    engine.fail(3)
    assert counted(engine.reading(), SUCCESS) == [Counts(4, 12)]


def test_what_clients_call_off_or_get_wrong_is_no_failure() -> None:
    """M8."""
    engine = Engine()
    engine.serve(7)
    engine.serve(3, reason="abort")
    engine.add(f"{series.HTTP_REQUESTS}/4xx", 5)
    assert counted(engine.reading(), SUCCESS) == [Counts(0, 7)]


def test_a_full_queue_is_no_failure_but_a_wait_in_vain() -> None:
    engine = Engine()
    engine.serve(6)
    engine.refuse(4)
    assert counted(engine.reading(), SUCCESS, TTFT) == [Counts(0, 6), Counts(4, 10)]


def test_an_older_engine_that_knows_no_errors_is_counted_without() -> None:
    reading = replace(Engine().reading(), counters={f"{series.FINISHED}/stop": 5.0})
    assert counted(reading, SUCCESS) == [Counts(0, 5)]


def test_answers_cut_at_the_cap_are_compared_with_all_that_ended_by_themselves() -> None:
    engine = Engine()
    engine.serve(6)
    engine.serve(2, reason="length")
    engine.serve(1, reason="repetition")
    engine.serve(1, reason="error")
    engine.serve(3, reason="abort")
    assert counted(engine.reading(), checks=(LENGTH,)) == [Counts(2, 9)]


def test_no_more_requests_are_preempted_than_there_were() -> None:
    engine = Engine()
    engine.serve(4)
    engine.add(series.PREEMPTIONS, 9)
    assert counted(engine.reading(), checks=(PREEMPTED,)) == [Counts(4, 4)]


def test_a_check_with_queries_of_its_own_is_answered_by_prometheus() -> None:
    reading = Reading("", CANARY, NOW, queries={"mine": (2.0, 50.0)})
    assert counts_of(reading, lane(TTFT, SUCCESS), analysis(QUERIED, LENGTH)) == {"mine": Counts(2, 50)}


def test_a_series_that_is_not_there_leaves_its_check_out() -> None:
    """A1, A2: neither no number nor an empty answer is ever a good one."""
    reading = Reading("pod-1", CANARY, NOW)
    assert not counted(reading, TTFT, ITL, E2E, QUEUE, SUCCESS, checks=(LENGTH, PREEMPTED, QUERIED))


@pytest.mark.parametrize(
    ("objectives", "checks"),
    [
        ([{**TTFT, "threshold": "500ms"}], [LENGTH]),
        ([TTFT, SUCCESS], [LENGTH]),
        ([TTFT], [QUERIED]),
    ],
)
def test_other_checks_have_another_definition(objectives: list[Any], checks: list[Any]) -> None:
    usual = definition_of(lane(TTFT), analysis(LENGTH))
    assert usual == definition_of(lane(TTFT), analysis(LENGTH))
    assert usual != definition_of(lane(*objectives), analysis(*checks))
