"""What callers see: completions through the gateway, one by one or as a steady load."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from e2e.manifests import MODEL

Object = dict[str, Any]

DONE = "[DONE]"
LONG, SHORT = 60, 4
CALLERS = (LONG, LONG, LONG, LONG, SHORT, SHORT)
"""Tokens that each caller of a load asks for, over and over."""


def ask(**fields: Any) -> Object:
    """Body of a completion that only `max_tokens` ends."""
    return {"model": MODEL, "prompt": "def fibonacci(n):", "ignore_eos": True, "max_tokens": 8} | fields


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Data of each server-sent event, as it arrives."""
    async for line in answer.content:
        text = line.decode().strip()
        if text:
            yield text.removeprefix("data: ")


async def streamed(http: aiohttp.ClientSession, url: str, **fields: Any) -> list[Object]:
    """Chunks of a streamed completion; raises ValueError if it does not end as it should."""
    async with http.post(f"{url}/completions", json=ask(stream=True, **fields)) as answer:
        answer.raise_for_status()
        data = [event async for event in events(answer)]
    if not data or data[-1] != DONE:
        raise ValueError(f"the stream ended with {data[-1:]}")
    return [json.loads(event) for event in data[:-1]]


def finish_reason(chunks: list[Object]) -> str | None:
    """How the answer in these chunks ended."""
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    return next(filter(None, reasons), None)


class Load:
    """Callers that ask again and again until the load is stopped, and what became of each request."""

    def __init__(self, url: str) -> None:
        self.served = 0
        self.lost: list[str] = []
        self._url = url
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Call until stopped; requests under way are finished."""
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as callers:
            for tokens in CALLERS:
                callers.create_task(self._call(http, tokens))

    def stop(self) -> None:
        """Let no caller ask again."""
        self._stopped.set()

    async def _call(self, http: aiohttp.ClientSession, tokens: int) -> None:
        while not self._stopped.is_set():
            try:
                reason = finish_reason(await streamed(http, self._url, max_tokens=tokens))
            except (aiohttp.ClientError, ValueError) as error:
                self.lost.append(f"{tokens} tokens: {error!r}")
                continue
            self.served += 1
            if reason != "length":
                self.lost.append(f"{tokens} tokens: finish_reason {reason}")


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Keep the load on while the block runs, and let every request end."""
    running = Load(url)
    async with asyncio.TaskGroup() as group:
        group.create_task(running.run())
        try:
            yield running
        finally:
            running.stop()


class Steady:
    """Callers who come at a constant rate, whatever becomes of those before: `answered` and `lost`.

    `answered` counts by the engine's fingerprint, which tells the weights' revision.
    """

    def __init__(self, url: str, rate: float, headers: Mapping[str, str] | None = None) -> None:
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self._url = url
        self._pause = 1 / rate
        self._headers = headers
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Call until stopped; requests under way are finished."""
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=self._headers)
        began = time.monotonic()
        async with session as http, asyncio.TaskGroup() as callers:
            for number in itertools.count():
                await asyncio.sleep(began + number * self._pause - time.monotonic())
                if self._stopped.is_set():
                    return
                callers.create_task(self._call(http))

    async def until_answered(self, more: int) -> None:
        """Wait until so many more have had their answer; raises TimeoutError after a minute without them."""
        wanted = self.answered.total() + more
        async with asyncio.timeout(60):
            while self.answered.total() < wanted:  # noqa: ASYNC110 -- it is counted, not signalled
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        """Let nobody call any more."""
        self._stopped.set()

    async def _call(self, http: aiohttp.ClientSession) -> None:
        asked = time.monotonic()
        try:
            # The fingerprint of a stream comes with its usage.
            chunks = await streamed(http, self._url, max_tokens=SHORT, stream_options={"include_usage": True})
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            late = time.monotonic() - asked
            self.lost.append(f"{type(error).__name__} after {late:.1f} s: {error}")
            return
        self.answered[
            next(chunk["system_fingerprint"] for chunk in chunks if "system_fingerprint" in chunk)
        ] += 1


@asynccontextmanager
async def steady(url: str, rate: float, headers: Mapping[str, str] | None = None) -> AsyncIterator[Steady]:
    """Keep callers on while the block runs, `rate` a second, and let every request end.

    `headers` tell who calls.
    """
    calling = Steady(url, rate, headers)
    running = asyncio.create_task(calling.run())
    try:
        yield calling
    finally:
        calling.stop()
        await running
