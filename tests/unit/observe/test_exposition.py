import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.observe.exposition import read
from pilothouse.observe.series import reading_of
from pilothouse.plan.readings import Reading
from unit.observe.engines import pod

RECORDED = (Path(__file__).parents[2] / "contract" / "data" / "metrics-0.32.0.txt").read_text()
NOW = datetime(2026, 11, 24, tzinfo=UTC)
SERIES = 'vllm:num_preemptions_total{engine="0",model_name="tiny"}'


def numbers(text: str) -> Reading:
    """What one pod counts by a page."""
    return reading_of(pod("10.0.0.1"), NOW, read(text))


def test_what_vllm_printed_is_read() -> None:
    series = numbers(RECORDED)
    assert series.counters["vllm:request_success_total/length"] == 3
    assert series.counters["vllm:request_success_total/stop"] == 0
    assert series.counters["vllm:admission_rejections_total"] == 0
    assert series.counters["vllm:prompt_tokens_total"] == 16
    assert series.counters["vllm:generation_tokens_total"] == 15
    assert series.counters["vllm:num_preemptions_total"] == 0
    assert series.gauges == {
        "vllm:num_requests_running": 0,
        "vllm:num_requests_waiting": 0,
        "vllm:kv_cache_usage_perc": 0,
        "process_start_time_seconds": 1.79540629712e09,
    }
    assert sorted(series.histograms) == [
        "vllm:e2e_request_latency_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:request_prompt_tokens",
        "vllm:request_queue_time_seconds",
        "vllm:time_to_first_token_seconds",
    ]


def test_a_histogram_is_cumulative_and_ends_with_infinity() -> None:
    prompts = numbers(RECORDED).histograms["vllm:request_prompt_tokens"]
    assert prompts.edges == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, math.inf)
    assert prompts.counts == (0, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3)


def test_requests_are_counted_by_class_and_on_generation_paths_only() -> None:
    assert {key: count for key, count in numbers(RECORDED).counters.items() if key.startswith("http")} == {
        "http_requests_total/2xx": 3,
        "http_requests_total/4xx": 4,
    }


def test_engines_of_one_pod_are_added_up() -> None:
    second = RECORDED.replace('engine="0"', 'engine="1"').replace("kv_cache_usage_perc{", "other{")
    series = numbers(RECORDED + second)
    assert series.counters["vllm:request_success_total/length"] == 6
    assert series.histograms["vllm:request_prompt_tokens"].counts[-1] == 6


def test_of_several_kv_caches_the_fullest_counts() -> None:
    page = "".join(
        f'vllm:kv_cache_usage_perc{{engine="{engine}"}} {used}\n' for engine, used in ((0, 0.2), (1, 0.9))
    )
    assert numbers(page).gauges == {"vllm:kv_cache_usage_perc": 0.9}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_finite_number_for_one_engine_is_left_out(value: str) -> None:
    page = f"{SERIES} {value}\n{SERIES.replace('0', '1')} 4\n"
    assert numbers(page).counters == {}


@pytest.mark.parametrize(
    "page",
    [
        'b{le="1.0"} 1\nb{le="+Inf"} NaN\n',
        'b{le="1.0"} 1\n',
        'b{engine="0",le="1.0"} 1\nb{engine="0",le="+Inf"} 1\nb{engine="1",le="+Inf"} 2\n',
    ],
    ids=["no number", "no infinite bucket", "engines with different buckets"],
)
def test_a_histogram_that_is_not_whole_is_left_out(page: str) -> None:
    assert numbers(page.replace("b{", "vllm:e2e_request_latency_seconds_bucket{")).histograms == {}


def test_a_series_of_the_same_beginning_is_another_series() -> None:
    assert numbers('vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7\n').gauges == {}


def test_a_label_may_hold_any_character() -> None:
    page = 'vllm:num_preemptions_total{engine="0",model_name="a } \\" b"} 3\n'
    assert numbers(page).counters == {"vllm:num_preemptions_total": 3}


def test_a_time_stamp_is_no_part_of_the_value() -> None:
    assert numbers(f"{SERIES} 3 1795406336175\n").counters == {"vllm:num_preemptions_total": 3}


def test_a_page_of_something_else_counts_nothing() -> None:
    assert numbers("<html>\n</html>\n") == Reading("10.0.0.1", "canary", NOW)


@given(st.text(alphabet='{}",= \\0le+Inf', max_size=40))
def test_a_broken_line_is_a_value_error(rest: str) -> None:
    page = f"vllm:time_to_first_token_seconds_bucket{{{rest}\n"
    try:
        numbers(page)
    except ValueError:
        return
    assert "}" in rest
