"""Engines of tests: HTTP servers at addresses of loopback, all on one port, as pods are."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from pilothouse.plan.observed import Object

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pod(address: str, revision: str = "canary") -> Object:
    """A ready pod at an address; its uid is the address too."""
    return {
        "metadata": {"name": f"p-{address}", "uid": address, "labels": {"pilothouse.dev/revision": revision}},
        "status": {
            "podIP": address,
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def says(text: str, status: int = 200) -> Answer:
    """Answer every request like this."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return answer


@asynccontextmanager
async def serving(answers: dict[str, Answer], port: int = 0) -> AsyncIterator[int]:
    """Serve at each address; yields the port that all of them share."""
    port = port or free_port()
    async with AsyncExitStack() as stack:
        for address, answer in answers.items():
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(app, shutdown_timeout=0.01)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, address, port).start()
        yield port
