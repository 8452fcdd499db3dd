"""What only the stand-in has over HTTP, its faults, and the flags that change answers.

All that it shares with vLLM is in tests/contract.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest
import uvicorn

from harness.vllm_sim import flags
from harness.vllm_sim.answer import KEEP_ALIVE, keep_alive
from harness.vllm_sim.app import build_app
from harness.vllm_sim.config import engine_config
from harness.vllm_sim.engine import Costs, Engine
from harness.vllm_sim.faults import Faults
from harness.vllm_sim.metrics import Metrics

Serve = Callable[..., Awaitable[aiohttp.ClientSession]]
BODY = {"prompt": "def main():", "max_tokens": 3, "ignore_eos": True}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve with these flags on a free port; yields a client of that address."""
    ends: list[Callable[[], Awaitable[None]]] = []

    async def serve(*arguments: str) -> aiohttp.ClientSession:
        args = flags.parse(["serve", "some/model", "--max-model-len", "256", *arguments])
        config = engine_config(args)
        engine = Engine(config, Costs(0, 0, 0), Metrics(config), Faults())
        steps = asyncio.create_task(engine.run())
        server = uvicorn.Server(uvicorn.Config(build_app(engine, args), port=0, log_level="error"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        port = server.servers[0].sockets[0].getsockname()[1]
        client = aiohttp.ClientSession(f"http://127.0.0.1:{port}")

        async def end() -> None:
            await client.close()
            await server.shutdown()
            steps.cancel()
            with suppress(asyncio.CancelledError):
                await steps

        ends.append(end)
        return client

    yield serve
    for end in ends:
        await end()


async def status(client: aiohttp.ClientSession, path: str, body: object = None) -> int:
    method = "GET" if body is None else "POST"
    async with client.request(method, path, json=body) as answer:
        return answer.status


async def text(client: aiohttp.ClientSession, path: str, body: object = None) -> str:
    method = "GET" if body is None else "POST"
    async with client.request(method, path, json=body) as answer:
        return await answer.text()


async def test_faults_are_set_read_and_cleared(serve: Serve) -> None:
    client = await serve()
    assert await status(client, "/sim/faults", {"unhealthy": True}) == 200
    assert json.loads(await text(client, "/sim/faults"))["unhealthy"] is True
    assert await status(client, "/health") == 503
    async with client.delete("/sim/faults"):
        assert await status(client, "/health") == 200


async def test_a_guarded_engine_can_be_broken(serve: Serve) -> None:
    client = await serve("--middleware", "pilothouse.guard.pilothouse_guard.Guard")
    assert await status(client, "/load") == 404
    assert await status(client, "/sim/faults", {"unhealthy": True}) == 200
    assert await status(client, "/health") == 503


async def test_an_unknown_fault_is_refused(serve: Serve) -> None:
    assert await status(await serve(), "/sim/faults", {"frobbed": 1}) == 400


async def test_an_injected_error_has_the_wanted_status(serve: Serve) -> None:
    client = await serve()
    await status(client, "/sim/faults", {"errors": {"status": 502}})
    assert await status(client, "/v1/completions", BODY) == 502
    assert await status(client, "/v1/models") == 200


async def test_a_wrong_name_is_the_only_one_served(serve: Serve) -> None:
    client = await serve()
    await status(client, "/sim/faults", {"model_name": "wrong"})
    assert json.loads(await text(client, "/v1/models"))["data"][0]["id"] == "wrong"
    assert await status(client, "/v1/completions", BODY | {"model": "some/model"}) == 404


async def test_metrics_can_be_missing_or_no_numbers(serve: Serve) -> None:
    client = await serve()
    await status(client, "/sim/faults", {"metrics": "missing"})
    assert "vllm:" not in await text(client, "/metrics")
    await status(client, "/sim/faults", {"metrics": "nan"})
    samples = [line for line in (await text(client, "/metrics")).splitlines() if line.startswith("vllm:")]
    assert samples
    assert {line.rpartition(" ")[2] for line in samples} == {"NaN"}


async def test_faults_are_not_counted_as_requests(serve: Serve) -> None:
    client = await serve()
    await text(client, "/sim/faults")
    await text(client, "/v1/models")
    metrics = await text(client, "/metrics")
    assert 'http_requests_total{handler="/v1/models",method="GET",status="2xx"} 1.0' in metrics
    assert "/sim/faults" not in metrics


async def test_a_key_guards_v1_alone(serve: Serve) -> None:
    client = await serve("--api-key", "secret", "other")
    assert await status(client, "/v1/models") == 401
    assert await status(client, "/health") == 200
    async with client.get("/v1/models", headers={"Authorization": "Bearer other"}) as answer:
        assert answer.status == 200


async def test_an_idle_stream_is_kept_alive_by_comments() -> None:
    go_on = asyncio.Event()

    async def idle() -> AsyncIterator[str]:
        await go_on.wait()
        yield "event"

    stream = keep_alive(idle(), 0.001)
    assert await anext(stream) == KEEP_ALIVE
    go_on.set()
    assert [event async for event in stream][-1] == "event"


async def test_usage_can_be_forced_into_every_stream(serve: Serve) -> None:
    client = await serve("--enable-force-include-usage")
    stream = await text(client, "/v1/completions", BODY | {"stream": True})
    assert '"completion_tokens":3' in stream.split("\n\n")[-3]


async def test_the_load_is_tracked_on_request(serve: Serve) -> None:
    client = await serve("--enable-server-load-tracking")
    await status(client, "/sim/faults", {"hang": True})
    async with client.post("/v1/completions", json=BODY | {"stream": True}):
        assert json.loads(await text(client, "/load")) == {"server_load": 1}
    while json.loads(await text(client, "/load")) != {"server_load": 0}:
        pass


async def test_a_cap_on_the_output_is_silent(serve: Serve) -> None:
    client = await serve("--override-generation-config.max_new_tokens", "2")
    answer = json.loads(await text(client, "/v1/completions", BODY | {"max_tokens": 100}))
    assert answer["usage"]["completion_tokens"] == 2
