"""Reads what the engines count from their own /metrics, by pod IP and all at the same time.

This way needs no Prometheus, so hard failures are seen while one is down.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Final

import aiohttp

from pilothouse.errors import Unreadable
from pilothouse.names import ENGINE_PORT, REVISION
from pilothouse.observe.exposition import read as samples_of
from pilothouse.observe.http import Request, read
from pilothouse.observe.series import add_up
from pilothouse.plan.observed import Object
from pilothouse.plan.readings import Reading
from pilothouse.telemetry.metrics import SCRAPE_SECONDS, SCRAPES

_LIMIT: Final = 2_000_000
_AT_A_TIME: Final = 32


@dataclass(frozen=True, slots=True)
class Scraped:
    """The readings, and by pod uid why there is none."""

    readings: tuple[Reading, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)


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

    async def __call__(self, pods: Sequence[Object]) -> Scraped:
        """Read the pods, which must have an address; one that fails costs the others nothing."""
        results = await asyncio.gather(*(self._scrape(pod) for pod in pods))
        return Scraped(
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
        url = f"http://{_host(pod['status']['podIP'])}:{self._port}/metrics"
        status, body = await read(self._session, Request(url, self._seconds, _LIMIT))
        if status != 200:  # noqa: PLR2004 -- HTTP
            raise Unreadable(f"/metrics answers HTTP {status}")
        at = self._now()
        try:
            series = add_up(samples_of(body.decode()))
        except ValueError as error:
            raise Unreadable("/metrics is not in Prometheus' text format") from error
        metadata = pod["metadata"]
        return Reading(
            pod=metadata["uid"],
            revision=metadata["labels"][REVISION],
            at=at,
            counters=series.counters,
            gauges=series.gauges,
            histograms=series.histograms,
        )


def _host(address: str) -> str:
    return f"[{address}]" if isinstance(ip_address(address), IPv6Address) else address
