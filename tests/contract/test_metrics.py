"""The metrics are the recorded ones in name, type, labels and buckets, and move as the real engine's do."""

import aiohttp
from prometheus_client.metrics_core import Metric

from contract.asking import chunks, complete, streaming
from contract.engine import Engine
from contract.recording import DATA
from contract.scrape import scrape
from harness.metrics import Metrics, parse
from harness.real_vllm import paths

RECORDED = (DATA / f"metrics-{paths.VERSION}.txt").read_text()
# Their values are a closed set, so that they are part of the contract.
ENUMERATIONS = ("finished_reason", "reason", "source", "sleep_state", "le", "engine")


def _form(family: Metric) -> tuple[str, str, frozenset[tuple[str, tuple[tuple[str, str], ...]]]]:
    samples = frozenset((each.name, _labels(each.labels)) for each in family.samples)
    return family.type, family.documentation, samples


def _labels(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value if name in ENUMERATIONS else "") for name, value in labels.items()))


def _of_the_engine(metrics: Metrics) -> dict[str, Metric]:
    return {
        name: family
        for name, family in metrics.families.items()
        if not name.startswith(("python_", "process_"))
    }


async def _moved(
    http: aiohttp.ClientSession, engine: Engine, before: Metrics, sample: str, **labels: str
) -> float:
    return (await scrape(http, engine)).value(sample, **labels) - before.value(sample, **labels)


async def test_the_families_are_the_recorded_ones(usual: Engine, http: aiohttp.ClientSession) -> None:
    await complete(http, usual)
    recorded = _of_the_engine(parse(RECORDED))
    seen = _of_the_engine(await scrape(http, usual))
    assert sorted(seen) == sorted(recorded)
    assert {name: _form(family) for name, family in seen.items()} == {
        name: _form(family) for name, family in recorded.items()
    }


async def test_every_metric_of_the_engine_names_the_first_served_model(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    await complete(http, usual, model="tiny-too")
    names = {
        each.labels["model_name"]
        for family in (await scrape(http, usual)).families.values()
        for each in family.samples
        if "model_name" in each.labels
    }
    assert names == {"tiny"}


async def test_tokens_are_counted_as_usage_says(usual: Engine, http: aiohttp.ClientSession) -> None:
    before = await scrape(http, usual)
    usage = (await complete(http, usual, max_tokens=9))["usage"]
    assert await _moved(http, usual, before, "vllm:prompt_tokens_total") == usage["prompt_tokens"]
    assert await _moved(http, usual, before, "vllm:generation_tokens_total") == usage["completion_tokens"]
    assert await _moved(http, usual, before, "vllm:request_prompt_tokens_sum") == usage["prompt_tokens"]
    assert (
        await _moved(http, usual, before, "vllm:request_generation_tokens_sum") == usage["completion_tokens"]
    )
    assert await _moved(http, usual, before, "vllm:request_params_max_tokens_sum") == 9


async def test_each_token_has_its_latency_counted(usual: Engine, http: aiohttp.ClientSession) -> None:
    before = await scrape(http, usual)
    async with streaming(http, usual, max_tokens=9) as answer:
        await chunks(answer)
    assert await _moved(http, usual, before, "vllm:time_to_first_token_seconds_count") == 1
    assert await _moved(http, usual, before, "vllm:inter_token_latency_seconds_count") == 8
    assert await _moved(http, usual, before, "vllm:request_time_per_output_token_seconds_count") == 1


async def test_each_phase_of_a_request_has_its_time_counted(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    before = await scrape(http, usual)
    await complete(http, usual, max_tokens=3)
    phases = ("request_queue_time", "request_prefill_time", "request_decode_time", "request_inference_time")
    for phase in (*phases, "e2e_request_latency"):
        assert await _moved(http, usual, before, f"vllm:{phase}_seconds_count") == 1, phase


async def test_a_full_length_is_a_success_by_length(usual: Engine, http: aiohttp.ClientSession) -> None:
    before = await scrape(http, usual)
    await complete(http, usual)
    assert await _moved(http, usual, before, "vllm:request_success_total", finished_reason="length") == 1
    assert await _moved(http, usual, before, "vllm:request_success_total") == 1


async def test_a_stop_text_is_a_success_by_stop(usual: Engine, http: aiohttp.ClientSession) -> None:
    text = (await complete(http, usual, max_tokens=30))["choices"][0]["text"]
    before = await scrape(http, usual)
    await complete(http, usual, max_tokens=30, stop=[text[len(text) // 2 :][:3]])
    assert await _moved(http, usual, before, "vllm:request_success_total", finished_reason="stop") == 1


async def test_a_prompt_seen_before_is_partly_read_from_the_cache(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    prompt = [*range(200, 400), *range(300, 500)]
    before = await scrape(http, usual)
    await complete(http, usual, prompt=prompt, max_tokens=1)
    assert await _moved(http, usual, before, "vllm:prefix_cache_hits_total") == 0
    await complete(http, usual, prompt=prompt, max_tokens=1)
    hits = await _moved(http, usual, before, "vllm:prefix_cache_hits_total")
    assert 0 < hits < len(prompt)
    assert await _moved(http, usual, before, "vllm:prompt_tokens_cached_total") == hits
    assert await _moved(http, usual, before, "vllm:prefix_cache_queries_total") == 2 * len(prompt)


async def test_a_refused_request_is_no_request_of_the_engine(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    before = await scrape(http, usual)
    async with http.post(f"{usual.url}/v1/completions", json={"model": "nope", "prompt": "x"}) as answer:
        assert answer.status == 404
    assert await _moved(http, usual, before, "vllm:request_success_total") == 0
    refusals = {"handler": "/v1/completions", "method": "POST", "status": "4xx"}
    assert await _moved(http, usual, before, "http_requests_total", **refusals) == 1
