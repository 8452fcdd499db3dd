"""The guard inside the engine's process, behind its real HTTP server."""

import asyncio
import json
from urllib.parse import urlsplit

import aiohttp
import pytest

from contract.asking import chunks, endless, events, greedy, streaming
from contract.guarded import PINS, Guarded


async def test_a_stream_carries_the_pins_and_has_one_line(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, guarded, max_tokens=5) as answer:
        assert answer.headers.items() >= PINS.items()
        assert len(answer.headers.getall("x-request-id")) == 1
        await chunks(answer)
    line = await guarded.line(answer.headers["x-request-id"])
    assert line.items() >= {"status": 200, "finish": "length", "tokensOut": 5, "exact": True}.items()
    assert line["firstTokenSeconds"] <= line["seconds"]


async def test_a_changed_time_limit_cuts_the_next_stream_with_a_last_event(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    async with guarded.settled(http, timeoutSeconds=1), streaming(http, guarded, **endless()) as answer:
        *_, error, done = [event async for event in events(answer)]
    assert json.loads(error)["error"]["code"] == "timeout"
    assert done == "[DONE]"
    assert (await guarded.line(answer.headers["x-request-id"]))["finish"] == "timeout"


@pytest.mark.parametrize(
    "path",
    [
        "//v1/completions",
        "/v1/completions/",
        "/v1//completions",
        "/v1/./completions",
        "/v1/../v1/completions",
        "/v1/../metrics",
        "/%2e%2e/metrics",
        "/%2Fmetrics",
        "/metrics/",
        "/metrics%2f",
        "/v1/completions%00",
        "/V1/Completions",
        "/tokenize",
        "/tokenize?x=/v1/completions",
        "/invocations",
        "/v1/responses",
        "/openapi.json",
        "/load",
    ],
)
async def test_no_spelling_opens_a_closed_path(guarded: Guarded, path: str) -> None:
    body = json.dumps(greedy(max_tokens=1)).encode()
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
        assert await _status(guarded, method, path, body) == 404


async def test_an_escaped_path_is_held_to_the_limits_of_the_path_that_it_means(guarded: Guarded) -> None:
    body = json.dumps(greedy(max_tokens=100_000)).encode()
    assert await _status(guarded, "POST", "/v1%2Fcompletions", body) == 400
    assert await _status(guarded, "POST", "/v1/completion%73?a=b", body) == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
async def test_a_generation_is_a_post(guarded: Guarded, method: str) -> None:
    body = json.dumps(greedy(max_tokens=1)).encode()
    assert await _status(guarded, method, "/v1/completions", body) == 404


async def _status(guarded: Guarded, method: str, path: str, body: bytes) -> int:
    """Send exactly this path, which a client library would put right."""
    address = urlsplit(guarded.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])
