"""Callers of both engines in turn, so that whatever else the machine does hits both alike."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NoReturn

import aiohttp
from benchmarks.guard.engines import MODEL, PLACES, Pair, cpu_seconds, headers

from contract.engine import Engine
from harness.paths import REPOSITORY

PROMPT_BYTES = 2000
TOKENS = range(16, 49)
"""Lengths of the streams, and callers begin one by one over RAMP seconds: so they do not fall into step."""
RAMP = 2.0
END = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Ask:
    """One request."""

    number: int
    prompt: str
    tokens: int


@dataclass(frozen=True)
class Stream:
    """When a stream had ended, and seconds to its first token."""

    ended: float
    first: float


@dataclass(frozen=True)
class Round:
    """What callers saw of one engine for a while.

    Attributes:
        seconds: how long it was watched.
        streams: how many ended in that time, all of them whole.
        first: seconds to the first token of each.
        cpu: seconds that the engine's process used.

    """

    seconds: float
    streams: int
    first: Sequence[float]
    cpu: float

    @property
    def throughput(self) -> float:
        """Streams a second."""
        return self.streams / self.seconds


@dataclass(frozen=True)
class Rounds:
    """Rounds without and with the guard, in pairs that followed on each other."""

    bare: Sequence[Round]
    guarded: Sequence[Round]

    def slowdowns(self) -> list[float]:
        """Return by what share the throughput is lower with the guard, for each pair."""
        pairs = zip(self.bare, self.guarded, strict=True)
        return [1 - guarded.throughput / bare.throughput for bare, guarded in pairs]

    def delays(self) -> list[float]:
        """Return by how many seconds the median first token is later with the guard, for each pair."""
        pairs = zip(self.bare, self.guarded, strict=True)
        return [median(guarded.first) - median(bare.first) for bare, guarded in pairs]


Presence = Callable[[], AbstractAsyncContextManager[None]]
"""What the process of the callers does while it waits for tokens."""


@asynccontextmanager
async def awake() -> AsyncIterator[None]:
    """Look for tokens all the time, as if somebody else's machine were woken by them."""
    task = asyncio.create_task(_spin())
    try:
        yield
    finally:
        task.cancel()


asleep: Presence = nullcontext
"""Sleep until a token comes."""


def prompts(size: int) -> Iterator[str]:
    """Yield prompts of so many bytes of code, each with another beginning, so that no cache knows it."""
    code = "".join(
        file.read_text() for file in sorted((REPOSITORY / "operator/pilothouse/plan").glob("*.py"))
    )
    code = code.encode("ascii", "replace").decode()
    for number in itertools.count():
        start = number * 997 % (len(code) - size)
        yield f"# {number:08}\n{code[start:]}"[:size]


def body(prompt: str, tokens: int) -> Mapping[str, Any]:
    """Return a request for a stream of exactly so many tokens."""
    return {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": True}


async def saturate(pair: Pair, pairs: int, seconds: float, presence: Presence) -> Rounds:
    """Keep all places of either engine taken, in turn; the first pair of rounds warms up."""
    asking = {engine: _asking() for engine in _in_turn(pair, 0)}
    bare, guarded = [], []
    for turn in range(pairs + 1):
        measured = {}
        for engine in _in_turn(pair, turn):
            async with presence():
                measured[engine] = await _round(engine, asking[engine], seconds)
        if turn:
            bare.append(measured[pair.bare])
            guarded.append(measured[pair.guarded])
    return Rounds(bare, guarded)


async def one_by_one(pair: Pair, pairs: int) -> list[float]:
    """Return by how many seconds a first token is later with the guard, for pairs of lone requests."""
    delays = []
    async with _session() as http:
        for turn, ask in zip(range(pairs + 1), _asking(), strict=False):
            short = replace(ask, tokens=2)
            first = {engine: await _stream(http, engine, short) for engine in (pair.bare, pair.guarded)}
            if turn:
                delays.append(first[pair.guarded] - first[pair.bare])
    return delays


def _in_turn(pair: Pair, turn: int) -> Sequence[Engine]:
    return (pair.bare, pair.guarded) if turn % 2 else (pair.guarded, pair.bare)


def _asking() -> Iterator[Ask]:
    lengths = random.Random(1)  # noqa: S311 -- the same for both engines
    for number, prompt in enumerate(prompts(PROMPT_BYTES)):
        yield Ask(number, prompt, lengths.choice(TOKENS))


async def _spin() -> NoReturn:
    while True:  # noqa: ASYNC110 -- there is no event: it keeps the loop from waiting for one
        await asyncio.sleep(0)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _round(engine: Engine, asking: Iterable[Ask], seconds: float) -> Round:
    async with _session() as http, asyncio.TaskGroup() as group:
        callers = Callers(http, engine, asking)
        for place in range(PLACES):
            group.create_task(callers.call(RAMP * place / PLACES))
        await asyncio.sleep(2 * RAMP)
        began, cpu = time.monotonic(), cpu_seconds(engine)
        await asyncio.sleep(seconds)
        ended, cpu = time.monotonic(), cpu_seconds(engine) - cpu
        callers.enough = True
    first = [stream.first for stream in callers.streams if began <= stream.ended < ended]
    return Round(ended - began, len(first), first, cpu)


class Callers:
    """Ask for the next stream as soon as the last one has ended, until it is enough."""

    def __init__(self, http: aiohttp.ClientSession, engine: Engine, asking: Iterable[Ask]) -> None:
        self.streams: list[Stream] = []
        self.enough = False
        self._http = http
        self._engine = engine
        self._asking = asking

    async def call(self, delay: float) -> None:
        """Be one of them, after a while."""
        await asyncio.sleep(delay)
        for ask in self._asking:
            first = await _stream(self._http, self._engine, ask)
            self.streams.append(Stream(time.monotonic(), first))
            if self.enough:
                return


async def _stream(http: aiohttp.ClientSession, engine: Engine, ask: Ask) -> float:
    """Return the seconds to the first token; every stream has to be whole."""
    asked = time.monotonic()
    first, end = 0.0, b""
    json, said = body(ask.prompt, ask.tokens), headers(ask.number)
    async with http.post(f"{engine.url}/v1/completions", json=json, headers=said) as answer:
        assert answer.status == 200, await answer.text()
        async for data in answer.content.iter_any():
            first, end = first or time.monotonic(), data
    assert end.endswith(END), end
    return first - asked
