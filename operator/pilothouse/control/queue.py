"""Keys that wait to be reconciled.

A key waits at most once and is never processed twice at a time; one that comes in while it is processed is
queued again afterwards. Changes by people and looks at a canary go before other timers and resyncs. A failing
key comes back ever later, and success forgets that. A timer is dropped when the key is taken, because the
reconcile says anew when to come back.

The clock and the timers are those of the event loop.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, NamedTuple, TypeVar

from pilothouse.telemetry.metrics import QUEUE_DEPTH, QUEUE_LATENCY, QUEUE_RETRIES

SETTLE_SECONDS: Final = 0.1
"""How long to wait after a child changed: Kubernetes' own controllers touch a new one several times."""

_BASE: Final = 0.1
_CAP: Final = 60.0

Key = TypeVar("Key")


class Priority(IntEnum):
    """Who goes first."""

    CHANGE = 0
    ROUTINE = 1


@dataclass(frozen=True, slots=True)
class _Waiting:
    priority: Priority
    ticket: int
    since: float


class _Timer(NamedTuple):
    handle: asyncio.TimerHandle
    priority: Priority


class Queue(Generic[Key]):
    """A de-duplicating queue with delays and backoff per key. Not thread-safe."""

    def __init__(self, jitter: random.Random | None = None) -> None:
        self._jitter = jitter or random.Random()  # noqa: S311 -- not cryptography
        self._tickets = itertools.count()
        self._order: asyncio.PriorityQueue[tuple[Priority, int, Key]] = asyncio.PriorityQueue()
        self._waiting: dict[Key, _Waiting] = {}
        self._running: dict[Key, float] = {}
        self._again: dict[Key, Priority] = {}
        self._timers: dict[Key, _Timer] = {}
        self._failures: dict[Key, int] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        QUEUE_DEPTH.set_function(self._waiting.__len__)

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Queue the key; if it waits already, the better of the two priorities counts."""
        if key in self._running:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        known = self._waiting.get(key)
        if known and known.priority <= priority:
            return
        ticket = next(self._tickets)
        self._waiting[key] = _Waiting(priority, ticket, known.since if known else _now())
        self._order.put_nowait((priority, ticket, key))

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.ROUTINE) -> None:
        """Queue the key later; of two timers of a key the sooner counts, with the better priority of both."""
        due = _now() + seconds
        known = self._timers.get(key)
        if known:
            priority = min(priority, known.priority)
            if known.handle.when() <= due:
                self._timers[key] = _Timer(known.handle, priority)
                return
            known.handle.cancel()
        self._timers[key] = _Timer(asyncio.get_running_loop().call_at(due, self._ring, key), priority)

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        """Queue the key after its backoff, doubled each time; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        full = min(_BASE * 2.0 ** min(failures, 32), _CAP)
        seconds = max(full * self._jitter.uniform(0.5, 1.0), at_least)
        QUEUE_RETRIES.inc()
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: Key) -> None:
        """Start the key's backoff anew."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and take it; `done` must follow."""
        while True:
            await self._open.wait()
            entry = await self._order.get()
            _, ticket, key = entry
            waiting = self._waiting.get(key)
            if not self._open.is_set():
                self._order.put_nowait(entry)
            # An entry that was overtaken by a better priority is passed over.
            elif waiting and waiting.ticket == ticket:
                return self._take(key, waiting)

    def done(self, key: Key) -> None:
        """Give a key back; what came in meanwhile queues it again."""
        del self._running[key]
        if not self._running:
            self._idle.set()
        priority = self._again.pop(key, None)
        if priority is not None:
            self.add(key, priority)

    async def drain(self) -> None:
        """Hand out no more keys, and wait until those under way are given back."""
        self._open.clear()
        await self._idle.wait()

    def oldest_running(self) -> float:
        """Return for how many seconds the longest running key has been processed."""
        return _now() - min(self._running.values(), default=_now())

    def _take(self, key: Key, waiting: _Waiting) -> Key:
        now = _now()
        del self._waiting[key]
        self._running[key] = now
        self._idle.clear()
        QUEUE_LATENCY.observe(now - waiting.since)
        timer = self._timers.pop(key, None)
        if timer:
            timer.handle.cancel()
        return key

    def _ring(self, key: Key) -> None:
        self.add(key, self._timers.pop(key).priority)


def _now() -> float:
    return asyncio.get_running_loop().time()
