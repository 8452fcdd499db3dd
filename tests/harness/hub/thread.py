"""A hub of a test's own in this process, in a thread: the hub's client is not asynchronous."""

import asyncio
import json
import threading
import urllib.request
from dataclasses import dataclass

from aiohttp import web

from harness.hub.server import app


@dataclass(frozen=True)
class Asked:
    """What clients asked for, by `owner/name@commit/path`; pages of listings by `owner/name@commit`."""

    heads: dict[str, int]
    gets: dict[str, int]
    sent: dict[str, int]
    listings: dict[str, int]

    @property
    def nothing(self) -> bool:
        """Whether nobody asked for anything."""
        return not (self.heads or self.gets or self.listings)


class HubThread:
    """A running hub."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(app(), access_log=None, shutdown_timeout=1)
        self._loop.run_until_complete(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def fault(self, **fault: object) -> None:
        """Put a fault in force."""
        self._ask("POST", "faults", fault)

    def heal(self) -> None:
        """End all faults."""
        self._ask("DELETE", "faults")

    def asked(self) -> Asked:
        """Tell what was asked for since the start or `forget`."""
        return Asked(**json.loads(self._ask("GET", "requests")))

    def forget(self) -> None:
        """Count anew."""
        self._ask("DELETE", "requests")

    def stop(self) -> None:
        """End the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _ask(self, method: str, what: str, body: object = None) -> bytes:
        head = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_hub/{what}", data, head, method=method)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310 -- loopback
            content: bytes = answer.read()
        return content
