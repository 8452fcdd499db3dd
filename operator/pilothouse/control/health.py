"""What probes and Prometheus ask for, over HTTP.

/healthz fails when only a restart helps: a reconcile is stuck, or a watch is lost. That the answer comes at
all shows that the event loop turns. An API server that can't be reached is not ours to heal, and fails
nothing. /readyz holds once every kind was listed; a standby is ready too.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pilothouse.settings import Settings
from pilothouse.telemetry.metrics import REGISTRY


@dataclass(frozen=True, slots=True)
class Health:
    """The questions that decide."""

    oldest_reconcile: Callable[[], float]
    """Seconds that the longest running reconcile has taken so far."""
    resync_age: Callable[[], float]
    """Seconds since the last attempt to compare the Store with the cluster."""
    lost_watches: Callable[[], list[str]]
    filled: Callable[[], bool]
    settings: Settings

    def problems(self) -> list[str]:
        """Say what only a restart heals."""
        checks = (
            (self.oldest_reconcile() > self.settings.stuck_seconds, "a reconcile is stuck"),
            (self.resync_age() > 3 * self.settings.resync_seconds, "the resync is stuck"),
            (bool(self.lost_watches()), f"watches are lost: {', '.join(self.lost_watches())}"),
        )
        return [problem for failed, problem in checks if failed]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while the context is open."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", _metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, self.settings.http_host, self.settings.http_port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self.problems())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer([] if self.filled() else ["not every kind has been listed"])


def _answer(problems: list[str]) -> web.Response:
    return web.Response(status=503 if problems else 200, text="; ".join(problems) or "ok")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
