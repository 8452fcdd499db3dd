"""A client that goes away takes its request with it."""

import asyncio
import contextlib

import aiohttp

from contract.asking import complete, endless, events, streaming
from contract.engine import Engine
from contract.scrape import scrape
from contract.waiting import until


async def _running(http: aiohttp.ClientSession, engine: Engine, count: int) -> None:
    async def reached() -> bool:
        return (await scrape(http, engine)).value("vllm:num_requests_running") == count

    await until(reached, f"{count} running")


async def _leave_a_stream(http: aiohttp.ClientSession, engine: Engine) -> None:
    async with streaming(http, engine, **endless()) as answer:
        await anext(events(answer))
        await _running(http, engine, 1)


async def test_leaving_a_stream_frees_its_place(busy: Engine, http: aiohttp.ClientSession) -> None:
    await _leave_a_stream(http, busy)
    await _running(http, busy, 0)


async def test_leaving_before_the_answer_frees_its_place(busy: Engine, http: aiohttp.ClientSession) -> None:
    asking = asyncio.create_task(complete(http, busy, **endless()))
    await _running(http, busy, 1)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await _running(http, busy, 0)


async def test_nothing_is_written_for_who_has_left(busy: Engine, http: aiohttp.ClientSession) -> None:
    await _leave_a_stream(http, busy)
    await _running(http, busy, 0)
    before = (await scrape(http, busy)).value("vllm:generation_tokens_total")
    await complete(http, busy, max_tokens=200)
    assert (await scrape(http, busy)).value("vllm:generation_tokens_total") - before == 200


async def test_who_has_left_is_no_success_of_any_kind(busy: Engine, http: aiohttp.ClientSession) -> None:
    before = (await scrape(http, busy)).value("vllm:request_success_total")
    await _leave_a_stream(http, busy)
    await _running(http, busy, 0)
    assert (await scrape(http, busy)).value("vllm:request_success_total") == before
