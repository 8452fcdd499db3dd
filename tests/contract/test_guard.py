"""The guard inside the engine's process, behind its real HTTP server."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from contract.asking import chunks, endless, events, greedy, streaming
from contract.engine import COMMON_FLAGS, TESTS, Engine, Kind
from contract.waiting import until

GUARD = TESTS.parent / "operator/pilothouse/guard"
PINS = {
    "x-pilothouse-revision": "7f3a9c1d20",
    "x-model-revision": "c0ffee",
    "x-tokenizer-revision": "7ea",
    "x-license-id": "Apache-2.0",
}
IDENTITY = {
    "revision": "7f3a9c1d20",
    "modelRevision": "c0ffee",
    "tokenizerRevision": "7ea",
    "licenseID": "Apache-2.0",
}
SETTINGS: dict[str, Any] = {
    "identity": IDENTITY,
    "requests": {"maxInputTokens": 1000, "maxOutputTokens": 15_000, "timeoutSeconds": 60},
    "concurrency": {"perReplica": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guard")
    for name in ("pilothouse_guard.py", "credentials.json"):
        shutil.copy(GUARD / name, folder)
    _settle(folder)
    return folder


@pytest.fixture(scope="module")
def guarded(kind: Kind, folder: Path) -> Iterator[Engine]:
    environment = {
        **kind.environment,
        "PYTHONPATH": f"{TESTS}:{folder}",
        "PILOTHOUSE_SETTINGS": str(folder / "settings.json"),
    }
    flags = (
        *COMMON_FLAGS,
        *("--served-model-name", "tiny"),
        *("--max-model-len", "16K"),
        "--enable-request-id-headers",
        "--middleware=pilothouse_guard.Guard",
    )
    engine = Engine(replace(kind, environment=environment), flags, folder / "log")
    try:
        engine.wait_ready()
        yield engine
    finally:
        engine.kill()


async def test_a_stream_carries_the_pins_and_has_one_line(
    guarded: Engine, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, guarded, max_tokens=5) as answer:
        assert answer.headers.items() >= PINS.items()
        assert len(answer.headers.getall("x-request-id")) == 1
        await chunks(answer)
    line = await _line(guarded, answer.headers["x-request-id"])
    assert line.items() >= {"status": 200, "finish": "length", "tokensOut": 5, "exact": True}.items()
    assert line["firstTokenSeconds"] <= line["seconds"]


async def test_who_hangs_up_has_a_line_too_and_frees_its_place(
    guarded: Engine, http: aiohttp.ClientSession
) -> None:
    ids = []
    for _ in range(4):
        async with streaming(http, guarded, **endless()) as answer:
            await anext(events(answer))
            ids.append(answer.headers["x-request-id"])
    lines = [await _line(guarded, request_id) for request_id in ids]
    assert [line["finish"] for line in lines] == ["cancelled"] * 4
    async with http.post(f"{guarded.url}/v1/completions", json=greedy(max_tokens=1)) as answer:
        assert answer.status == 200


async def test_a_prompt_over_the_cap_is_counted_exactly_and_refused(
    guarded: Engine, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{guarded.url}/tokenize", json={"prompt": "x"}) as closed:
        assert closed.status == 404
    body = greedy(prompt="x y z " * 2000, max_tokens=1)
    async with http.post(f"{guarded.url}/v1/completions", json=body) as answer:
        assert answer.status == 400
        assert answer.headers.items() >= PINS.items()
        assert (await answer.json())["error"]["code"] == "context_length_exceeded"
    line = await _line(guarded, answer.headers["x-request-id"])
    assert line.items() >= {"finish": "rejected:context_length_exceeded", "tokensOut": 0}.items()
    assert line["tokensIn"] > 1000


async def test_a_changed_time_limit_cuts_the_next_stream_with_a_last_event(
    guarded: Engine, folder: Path, http: aiohttp.ClientSession
) -> None:
    before = await _settings_in_force(guarded, http)
    _settle(folder, timeoutSeconds=1)

    async def changed() -> bool:
        return await _settings_in_force(guarded, http) != before

    await until(changed, "the changed settings")
    async with streaming(http, guarded, **endless()) as answer:
        *_, error, done = [event async for event in events(answer)]
    _settle(folder)
    assert json.loads(error)["error"]["code"] == "timeout"
    assert done == "[DONE]"
    assert (await _line(guarded, answer.headers["x-request-id"]))["finish"] == "timeout"


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
async def test_no_spelling_opens_a_closed_path(guarded: Engine, path: str) -> None:
    body = json.dumps(greedy(max_tokens=1)).encode()
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
        assert await _status(guarded, method, path, body) == 404


async def test_an_escaped_path_is_held_to_the_limits_of_the_path_that_it_means(guarded: Engine) -> None:
    body = json.dumps(greedy(max_tokens=100_000)).encode()
    assert await _status(guarded, "POST", "/v1%2Fcompletions", body) == 400
    assert await _status(guarded, "POST", "/v1/completion%73?a=b", body) == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
async def test_a_generation_is_a_post(guarded: Engine, method: str) -> None:
    body = json.dumps(greedy(max_tokens=1)).encode()
    assert await _status(guarded, method, "/v1/completions", body) == 404


def _settle(folder: Path, **requests: object) -> None:
    """Write settings.json at once, as the kubelet does."""
    (folder / "next.json").write_text(
        json.dumps(SETTINGS | {"requests": {**SETTINGS["requests"], **requests}})
    )
    (folder / "next.json").replace(folder / "settings.json")


async def _settings_in_force(engine: Engine, http: aiohttp.ClientSession) -> str:
    async with http.get(f"{engine.url}/pilothouse/about") as answer:
        digest: str = (await answer.json())["settings"]
        return digest


async def _line(engine: Engine, request_id: str) -> dict[str, Any]:
    """Wait for the line of a request, and return it: the only one."""
    found: list[dict[str, Any]] = []

    async def logged() -> bool:
        written = [line for line in engine.output().splitlines() if line.startswith('{"event":"generation"')]
        found[:] = [line for line in map(json.loads, written) if line["requestId"] == request_id]
        return bool(found)

    await until(logged, f"the line of {request_id}")
    (line,) = found
    return line


async def _status(engine: Engine, method: str, path: str, body: bytes) -> int:
    """Send exactly this path, which a client library would put right."""
    address = urlsplit(engine.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])
