"""Load at a constant rate, streams included, with every answer on record: when, how it ended, who gave it.

It does not wait for answers before it asks again, so a slow engine is not spared. Which revision answered is
told by vLLM's `system_fingerprint`, a digest of the weights' revision, which stands in every completion; an
injected error has none.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from uuid import uuid4

import aiohttp

from e2e.traffic import DONE, Object, ask, events, finish_reason

PROMPT = "def fibonacci(n):\n    if n < 2:\n        return n\n" * 3
LONG, SHORT = 24, 4
CALLS = ((SHORT, True), (SHORT, False), (SHORT, True), (SHORT, False), (SHORT, True), (LONG, True))
"""Tokens of each request in turn, and whether it is streamed."""


@dataclass(frozen=True)
class Asking:
    """What each request of a load is, in turn (`calls`); `headers` tell who asks."""

    calls: Sequence[tuple[int, bool]] = CALLS
    prompt: str = PROMPT
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What one caller saw.

    Attributes:
        began: when it was asked; `first` when the first byte came, `ended` the last; seconds since 1970.
        status: of HTTP; 0 where no answer came.
        streamed: whether it was a stream.
        whole: whether it ended as it should, `[DONE]` and finish reason included.
        fingerprint: of the engine that answered; empty with an error.
        error: what went wrong.

    """

    began: float
    first: float
    ended: float
    status: int
    streamed: bool
    whole: bool = False
    fingerprint: str = ""
    error: str = ""


ASKING = Asking()


class Load:
    """Callers at a constant rate until stopped; requests under way are finished."""

    def __init__(self, url: str, per_minute: float, asking: Asking) -> None:
        self.answers: list[Answer] = []
        self._url = f"{url}/completions"
        self._pause = 60 / per_minute
        self._asking = asking
        # No prompt is asked twice, by another load neither: what an engine has in its cache comes sooner.
        self._mark = uuid4().hex[:8]
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Ask until stopped. A late start is caught up with, so the rate holds."""
        began = time.monotonic()
        async with self._session() as http, asyncio.TaskGroup() as callers:
            for number, (tokens, stream) in enumerate(itertools.cycle(self._asking.calls)):
                await asyncio.sleep(began + number * self._pause - time.monotonic())
                if self._stopped.is_set():
                    return
                callers.create_task(self._call(http, number, tokens, stream=stream))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def since(self, moment: float) -> list[Answer]:
        """Return the answers to what was asked since then, in the order of the asking."""
        return sorted((a for a in self.answers if a.began >= moment), key=lambda answer: answer.began)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(connector=connector, headers=self._asking.headers)

    async def _call(self, http: aiohttp.ClientSession, number: int, tokens: int, *, stream: bool) -> None:
        body = ask(prompt=f"# {self._mark} {number}\n{self._asking.prompt}", max_tokens=tokens, stream=stream)
        began = time.time()
        try:
            self.answers.append(await _ask(http, self._url, body, began))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.answers.append(Answer(began, time.time(), time.time(), 0, stream, error=repr(error)))


@asynccontextmanager
async def load(url: str, per_minute: float, asking: Asking = ASKING) -> AsyncIterator[Load]:
    """Keep the load on while the block runs, and let every request end."""
    running = Load(url, per_minute, asking)
    async with asyncio.TaskGroup() as group:
        group.create_task(running.run())
        try:
            yield running
        finally:
            running.stop()


async def _ask(http: aiohttp.ClientSession, url: str, body: Object, began: float) -> Answer:
    async with http.post(url, json=body) as answer:
        if answer.status != HTTPStatus.OK:
            text = await answer.text()
            return Answer(began, time.time(), time.time(), answer.status, body["stream"], error=text[:200])
        first, chunks = await _read(answer, stream=body["stream"])
    return Answer(
        began,
        first,
        time.time(),
        answer.status,
        body["stream"],
        whole=finish_reason(chunks) == "length",
        fingerprint=next(
            (chunk["system_fingerprint"] for chunk in chunks if "system_fingerprint" in chunk), ""
        ),
    )


async def _read(answer: aiohttp.ClientResponse, *, stream: bool) -> tuple[float, list[Object]]:
    """Return when the first byte came, and all chunks; raise ValueError where a stream has no end."""
    if not stream:
        return time.time(), [await answer.json()]
    first, data = 0.0, []
    async for event in events(answer):
        first = first or time.time()
        data.append(event)
    if not data or data[-1] != DONE:
        raise ValueError(f"the stream ended with {data[-1:]}")
    return first, [json.loads(event) for event in data[:-1]]
