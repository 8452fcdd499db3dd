"""What the guard makes of a request on its way to the engine, and what becomes of one that is taken back."""

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp
import pytest

from contract.asking import Object, chunks, complete, endless, events, greedy, streaming
from contract.guarded import PINS, PLACES, Guarded
from contract.scrape import scrape
from contract.waiting import until

RUNNING = "vllm:num_requests_running"
HITS = "vllm:prefix_cache_hits_total"
LEFT = {"finish": "cancelled", "status": 499, "exact": False}
STEERING = {
    "priority": 5,
    "request_id": "mine",
    "session_id": "mine",
    "stream_interval": 10,
    "kv_transfer_params": {"do_remote_decode": True},
    "ec_transfer_params": {"do_remote_encode": True},
}
STEERING_HEADERS = {"X-Vllm-Priority": "5", "X-Data-Parallel-Rank": "7", "X-Session-ID": "mine"}


async def _running(http: aiohttp.ClientSession, guarded: Guarded, count: int) -> None:
    async def reached() -> bool:
        return (await scrape(http, guarded)).value(RUNNING) == count

    await until(reached, f"{count} running")


async def _refused(
    http: aiohttp.ClientSession, guarded: Guarded, path: str, body: Object
) -> aiohttp.ClientResponse:
    async with http.post(guarded.url + path, json=body) as answer:
        assert answer.headers.items() >= PINS.items()
        assert (await answer.json())["error"].keys() == {"message", "type", "param", "code"}
        return answer


async def test_tenants_share_no_prefix_and_a_clients_own_salt_parts_it_from_itself(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    callers = [("one", None), ("one", None), ("two", None), ("one", "own"), ("one", "own"), ("two", "own")]
    hits = []
    for tenant, salt in callers:
        before = (await scrape(http, guarded)).value(HITS)
        body = greedy(prompt=[*range(100, 900)], max_tokens=1) | ({"cache_salt": salt} if salt else {})
        headers = {"x-pilothouse-tenant": tenant}
        async with http.post(f"{guarded.url}/v1/completions", json=body, headers=headers) as answer:
            assert answer.status == 200
        hits.append((await scrape(http, guarded)).value(HITS) - before)

    assert [hit > 0 for hit in hits] == [False, True, False, False, True, False]


async def test_what_steers_the_engine_does_not_reach_it(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    body = greedy(max_tokens=20, stream=True, return_token_ids=True) | STEERING
    async with http.post(f"{guarded.url}/v1/completions", json=body, headers=STEERING_HEADERS) as answer:
        assert answer.status == 200
        pieces = await chunks(answer)

    assert sum(len(piece["choices"][0]["token_ids"]) for piece in pieces) == 20
    # In steps of ten it would be three. A real engine on a busy machine at times puts two tokens into one.
    assert len(pieces) > 10
    assert pieces[0]["id"] == f"cmpl-{answer.headers['x-request-id']}" != "cmpl-mine"


async def test_an_id_of_the_clients_own_is_that_of_answer_header_and_line(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    headers = {"X-Request-Id": "build/7:first"}
    body = greedy(max_tokens=1)
    async with http.post(f"{guarded.url}/v1/completions", json=body, headers=headers) as answer:
        assert answer.headers.getall("x-request-id") == ["build/7:first"]
        assert (await answer.json())["id"] == "cmpl-build/7:first"
    assert (await guarded.line("build/7:first"))["status"] == 200


async def test_two_that_run_under_one_id_are_told_apart(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    asked = {"json": greedy(stream=True, **endless()), "headers": {"X-Request-Id": "twice"}}
    async with http.post(f"{guarded.url}/v1/completions", **asked) as first:
        await anext(events(first))
        async with http.post(f"{guarded.url}/v1/completions", **asked) as second:
            await anext(events(second))
            assert first.headers["x-request-id"] == "twice"
            assert second.headers["x-request-id"].startswith("twice-")
    for answer in (first, second):
        assert (await guarded.line(answer.headers["x-request-id"]))["stream"]


async def test_who_leaves_a_stream_is_taken_out_of_the_engine(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, guarded, **endless()) as answer:
        await anext(events(answer))
        await _running(http, guarded, 1)
    await _running(http, guarded, 0)
    line = await guarded.line(answer.headers["x-request-id"])

    assert line.items() >= (LEFT | {"status": 200}).items()
    assert line["tokensOut"] >= 1


async def test_who_leaves_before_the_answer_is_taken_out_of_the_engine(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    headers = {"X-Request-Id": "left-early"}
    asking = asyncio.create_task(
        http.post(f"{guarded.url}/v1/completions", json=greedy(**endless()), headers=headers)
    )
    await _running(http, guarded, 1)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await _running(http, guarded, 0)

    assert (await guarded.line("left-early")).items() >= LEFT.items()


async def test_who_leaves_within_the_request_has_a_line(guarded: Guarded) -> None:
    address = urlsplit(guarded.url)
    head = "POST /v1/completions HTTP/1.1\r\nhost: engine\r\nx-request-id: left-within\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())

    assert (await guarded.line("left-within")).items() >= LEFT.items()


async def test_one_more_than_there_are_places_is_refused_before_the_engines_queue(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(PLACES):
            answer = await stack.enter_async_context(streaming(http, guarded, **endless()))
            await anext(events(answer))
        refused = await _refused(http, guarded, "/v1/completions", greedy())
        metrics = await scrape(http, guarded)
    await _running(http, guarded, 0)

    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert metrics.value(RUNNING) == PLACES
    assert metrics.value("vllm:num_requests_waiting") == 0
    assert (await complete(http, guarded, max_tokens=1))["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(
    "fields",
    [{"max_tokens": 15_001}, {"max_completion_tokens": 15_001}, {"min_tokens": 15_001}, {"n": PLACES + 1}],
    ids=str,
)
@pytest.mark.parametrize("chat", [False, True], ids=["completion", "chat"])
async def test_more_than_the_lane_allows_never_reaches_the_engine(
    guarded: Guarded, http: aiohttp.ClientSession, fields: Object, *, chat: bool
) -> None:
    before = await scrape(http, guarded)
    asked = {"messages": [{"role": "user", "content": "x"}]} if chat else {"prompt": "x"}
    path = "/v1/chat/completions" if chat else "/v1/completions"
    refused = await _refused(http, guarded, path, asked | fields)

    assert refused.status == 400
    queries = "vllm:prefix_cache_queries_total"
    assert (await scrape(http, guarded)).value(queries) == before.value(queries)
