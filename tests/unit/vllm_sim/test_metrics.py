"""The metrics are those that vLLM 0.32.0 printed, name for name, label for label, bucket for bucket."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harness.vllm_sim import flags
from harness.vllm_sim.config import engine_config
from harness.vllm_sim.instrumentator import HttpMetrics
from harness.vllm_sim.metrics import Metrics, Times, one_two_five
from harness.vllm_sim.scheduler import Limits, Request, Scheduler

REFERENCE = Path(__file__).parents[2] / "contract" / "data" / "metrics-0.32.0.txt"
# As the engine was started when it printed the reference.
COMMAND = ["serve", "tiny/model", "--served-model-name", "tiny", "--max-model-len", "1024"]


@dataclass(frozen=True)
class Family:
    kind: str
    help: str
    labels: frozenset[str]
    values: frozenset[tuple[str, str]]
    buckets: frozenset[str]


@cache
def arguments() -> argparse.Namespace:
    return flags.parse(COMMAND)


@cache
def untouched() -> Mapping[str, Family]:
    """The families of an engine that has answered one request."""
    config = engine_config(arguments())
    metrics = Metrics(config)
    http = HttpMetrics(metrics.registry)
    http.requests.labels("GET", "2xx", "/v1/models").inc()
    http.request_size.labels("/v1/models").observe(0)
    http.response_size.labels("/v1/models").observe(0)
    http.duration.labels("GET", "/v1/models").observe(0)
    return families(generate_latest(metrics.registry).decode())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(engine_config(arguments()))


def families(text: str) -> Mapping[str, Family]:
    """What is fixed of each family; the labels of its samples, and those values that no request brings."""
    found = {}
    for family in text_string_to_metric_families(text):
        labels = [sample.labels for sample in family.samples]
        fixed = {
            (k, v) for one in labels for k, v in one.items() if k in {"source", "reason", "finished_reason"}
        }
        found[family.name] = Family(
            family.type,
            family.documentation,
            frozenset(name for one in labels for name in one),
            frozenset(fixed),
            frozenset(one["le"] for one in labels if "le" in one),
        )
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    every = {"model_name": "tiny", "engine": "0"} | labels
    return metrics.registry.get_sample_value(f"vllm:{name}", every) or 0


RECORDED = families(REFERENCE.read_text())


def test_the_families_are_those_of_the_real_engine() -> None:
    assert untouched().keys() == RECORDED.keys()


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_family_has_the_type_help_labels_and_buckets_of_the_real_engine(name: str) -> None:
    assert untouched()[name] == RECORDED[name]


def test_token_buckets_end_at_the_model_length() -> None:
    assert one_two_five(1024) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert one_two_five(500)[-1] == 500


def test_the_queues_and_the_cache_show_as_gauges(metrics: Metrics) -> None:
    scheduler = Scheduler(Limits(max_num_seqs=1, max_num_batched_tokens=64, num_blocks=4))
    scheduler.add(Request("a", list(range(20))))
    scheduler.add(Request("b", list(range(20))))
    scheduler.schedule()
    metrics.queues(scheduler)
    assert value(metrics, "num_requests_running") == 1
    assert value(metrics, "num_requests_waiting") == 1
    assert value(metrics, "num_requests_waiting_by_reason", reason="capacity") == 1
    assert value(metrics, "kv_cache_usage_perc") == 0.5


def test_a_first_token_counts_its_prompt_by_where_it_came_from(metrics: Metrics) -> None:
    metrics.first_token(Times(arrived=1, first_token=1.5), prompt_tokens=20, cached=16)
    assert value(metrics, "prompt_tokens_total") == 20
    assert value(metrics, "prompt_tokens_by_source_total", source="local_compute") == 4
    assert value(metrics, "prompt_tokens_by_source_total", source="local_cache_hit") == 16
    assert value(metrics, "time_to_first_token_seconds_sum") == 0.5
