"""Reads what the engines count from their own /metrics, by pod IP and all at the same time.

This way needs no Prometheus, so hard failures are seen while one is down.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Final

import aiohttp

from pilothouse.errors import Unreadable
from pilothouse.names import ENGINE_PORT
from pilothouse.observe.exposition import read as samples_of
from pilothouse.observe.http import Request, read
from pilothouse.observe.measured import Measured
from pilothouse.observe.series import reading_of
from pilothouse.plan.observed import Object
from pilothouse.plan.readings import Reading
from pilothouse.telemetry.metrics import SCRAPE_SECONDS, SCRAPES

_LIMIT: Final = 2_000_000
_AT_A_TIME: Final = 32


class Engines:
    """Scrapes engines; `seconds` is what each may take."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        now: Callable[[], datetime],
        seconds: float,
        port: int = ENGINE_PORT,
    ) -> None:
        self._session = session
        self._now = now
        self._seconds = seconds
        self._port = port
        self._room = asyncio.Semaphore(_AT_A_TIME)

    async def __call__(self, pods: Sequence[Object]) -> Measured:
        """Read the pods, which must have an address; one that fails costs the others nothing."""
        results = await asyncio.gather(*(self._scrape(pod) for pod in pods))
        return Measured(
            readings=tuple(result for result in results if isinstance(result, Reading)),
            unread={
                pod["metadata"]["uid"]: result
                for pod, result in zip(pods, results, strict=True)
                if isinstance(result, str)
            },
        )

    async def _scrape(self, pod: Object) -> Reading | str:
        started = time.perf_counter()
        try:
            async with self._room:
                reading = await self._read(pod)
        except Unreadable as error:
            SCRAPES.labels("failure").inc()
            return str(error)
        SCRAPES.labels("success").inc()
        SCRAPE_SECONDS.observe(time.perf_counter() - started)
        return reading

    async def _read(self, pod: Object) -> Reading:
        url = base_url(pod, self._port)
        status, body = await read(self._session, Request(f"{url}/metrics", self._seconds, _LIMIT))
        if status != 200:  # noqa: PLR2004 -- HTTP
            raise Unreadable(f"/metrics answers HTTP {status}")
        try:
            return reading_of(pod, self._now(), samples_of(body.decode()))
        except ValueError as error:
            raise Unreadable("/metrics is not in Prometheus' text format") from error


def base_url(pod: Object, port: int = ENGINE_PORT) -> str:
    """Return where the engine of a pod is reached, which must have an address."""
    address = pod["status"]["podIP"]
    host = f"[{address}]" if isinstance(ip_address(address), IPv6Address) else address
    return f"http://{host}:{port}"
