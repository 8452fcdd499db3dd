"""What happens when more is asked for than fits: two run, two wait, and the next is refused."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest

from contract.asking import complete, endless, events, greedy, streaming
from contract.engine import Engine
from contract.recording import Recording
from contract.scrape import scrape
from contract.shape import shape
from contract.waiting import until

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"


async def _gauges(http: aiohttp.ClientSession, engine: Engine, running: int, waiting: int) -> None:
    async def reached() -> bool:
        metrics = await scrape(http, engine)
        return (metrics.value(RUNNING), metrics.value(WAITING)) == (running, waiting)

    await until(reached, f"{running} running and {waiting} waiting")


async def _open(stack: AsyncExitStack, http: aiohttp.ClientSession, engine: Engine) -> aiohttp.ClientResponse:
    return await stack.enter_async_context(streaming(http, engine, **endless()))


@pytest.fixture
async def full(busy: Engine, http: aiohttp.ClientSession) -> object:
    """Keep two running and two waiting for as long as the test lasts."""
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(_open(stack, http, busy) for _ in range(4)))
        await _gauges(http, busy, running=2, waiting=2)
        yield stack


@pytest.mark.usefixtures("full")
async def test_the_waiting_wait_for_capacity(busy: Engine, http: aiohttp.ClientSession) -> None:
    metrics = await scrape(http, busy)
    assert metrics.value("vllm:num_requests_waiting_by_reason", reason="capacity") == 2
    assert metrics.value("vllm:num_requests_waiting_by_reason", reason="deferred") == 0


@pytest.mark.usefixtures("full")
async def test_what_runs_holds_cache(busy: Engine, http: aiohttp.ClientSession) -> None:
    assert 0 < (await scrape(http, busy)).value("vllm:kv_cache_usage_perc") < 1


@pytest.mark.usefixtures("full")
async def test_more_than_may_be_queued_is_refused(
    busy: Engine, http: aiohttp.ClientSession, answers: Recording
) -> None:
    before = await _rejections(http, busy)
    async with http.post(f"{busy.url}/v1/completions", json=greedy()) as answer:
        answers.check("one too many", await shape(answer))
    assert await _rejections(http, busy) - before == 1


async def _rejections(http: aiohttp.ClientSession, engine: Engine) -> float:
    metrics = await scrape(http, engine)
    return metrics.value("vllm:admission_rejections_total", reason="max_num_queued_reqs")


async def test_the_next_runs_as_soon_as_one_leaves(
    busy: Engine, full: AsyncExitStack, http: aiohttp.ClientSession
) -> None:
    await full.aclose()
    await _gauges(http, busy, running=0, waiting=0)
    assert (await scrape(http, busy)).value("vllm:kv_cache_usage_perc") == 0
    assert (await complete(http, busy))["choices"][0]["finish_reason"] == "length"


async def test_the_third_gets_its_turn_when_the_first_is_done(
    busy: Engine, http: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await anext(events(await _open(stack, http, busy)))
        third = asyncio.create_task(complete(http, busy, max_tokens=1))
        await _gauges(http, busy, running=2, waiting=1)
        assert not third.done()
        await stack.aclose()
        assert (await third)["usage"]["completion_tokens"] == 1
