"""How answers become results and errors; what a real API server answers, tests/integration tests."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from pilothouse.act.credentials import Credentials
from pilothouse.act.rest import Rest
from pilothouse.errors import Conflict, NamespaceTerminating, NotFound, PilothouseError, Retryable, Terminal
from pilothouse.kinds import SERVICE
from pilothouse.plan.observed import ObjectKey

KEY = ObjectKey("Service", "team-ide", "a")


@asynccontextmanager
async def server(answer: Any, seconds: float = 30) -> AsyncIterator[tuple[Rest, list[web.Request]]]:
    """A server on loopback that answers as told, a client that waits so long, and what was asked."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        response: web.StreamResponse = await answer(request)
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = Configuration(host=site.name, api_key={"BearerToken": "bearer s3cret"})
    try:
        async with aiohttp.ClientSession(site.name, timeout=aiohttp.ClientTimeout(total=seconds)) as session:
            yield Rest(session, Credentials(configuration)), asked
    finally:
        await runner.cleanup()


def says(status: int, body: object, **headers: str) -> Any:
    """Answer every request like this."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=json.dumps(body), headers=headers)

    return answer


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"message": "not found"}, NotFound),
        (409, {"message": "conflict"}, Conflict),
        (403, {"message": "forbidden"}, Terminal),
        (422, {"message": "invalid"}, Terminal),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, NamespaceTerminating),
        (401, {"message": "unauthorized"}, Retryable),
        (410, {"message": "the continue token is too old"}, Retryable),
        (429, {"message": "too many requests"}, Retryable),
        (503, {"message": "shutting down"}, Retryable),
        (502, "not a Status", Retryable),
    ],
)
async def test_each_refusal_has_its_place_in_the_tree(
    status: int, body: object, error: type[PilothouseError]
) -> None:
    async with server(says(status, body)) as (kube, _):
        with pytest.raises(PilothouseError) as raised:
            await kube.get(KEY)
    assert type(raised.value) is error


async def test_a_server_that_is_busy_says_when_to_come_back() -> None:
    headers = {"Retry-After": "7"}
    async with server(says(429, {}, **headers)) as (kube, _):
        with pytest.raises(Retryable) as raised:
            await kube.get(KEY)
    assert raised.value.retry_after == 7


async def test_a_server_that_hangs_is_given_up_in_time() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with server(hang, seconds=0.2) as (kube, _):
        with pytest.raises(Retryable):
            await kube.get(KEY)


async def test_a_server_that_is_away_is_retryable() -> None:
    async with aiohttp.ClientSession("http://127.0.0.1:1") as session:
        with pytest.raises(Retryable, match="get Service"):
            await Rest(session, Credentials(Configuration())).get(KEY)


async def test_the_token_is_sent_with_its_scheme() -> None:
    async with server(says(200, {})) as (kube, asked):
        await kube.get(KEY)
    assert asked[0].headers["Authorization"] == "Bearer s3cret"
    assert asked[0].path == "/api/v1/namespaces/team-ide/services/a"


async def test_the_items_of_a_list_say_what_they_are() -> None:
    items = [{"metadata": {"name": name}} for name in "ab"]
    async with server(says(200, {"metadata": {"resourceVersion": "7"}, "items": items})) as (kube, asked):
        [page] = [page async for page in kube.pages(SERVICE, selector="x=y")]
    assert [item["metadata"]["name"] for item in page.items] == ["a", "b"]
    assert {(item["apiVersion"], item["kind"]) for item in page.items} == {("v1", "Service")}
    assert page.resource_version == 7
    assert asked[0].query["labelSelector"] == "x=y"


async def test_a_long_list_comes_in_parts() -> None:
    items = [{"metadata": {"name": str(number)}} for number in range(1200)]
    async with server(says(200, {"metadata": {"resourceVersion": "7"}, "items": items})) as (kube, _):
        assert [len(page.items) async for page in kube.pages(SERVICE)] == [500, 500, 200]


async def test_a_list_of_nothing_tells_its_version() -> None:
    async with server(says(200, {"metadata": {"resourceVersion": "7"}, "items": []})) as (kube, _):
        assert [(page.items, page.resource_version) async for page in kube.pages(SERVICE)] == [([], 7)]


async def test_an_api_version_that_is_not_there_serves_nothing() -> None:
    async with server(says(404, {})) as (kube, _):
        assert await kube.served("gateway.networking.k8s.io", "v1") == frozenset()
