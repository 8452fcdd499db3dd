"""Whether a request whose client has left gives its slot back, as the engine's own gauge tells."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, NamedTuple

from pilothouse.errors import WrongAnswer
from pilothouse.observe.engineapi import Chunk
from pilothouse.observe.vllm import Engines
from pilothouse.plan.observed import Object
from pilothouse.plan.series import PROMPT_TOKENS, RUNNING

_POLL_SECONDS: Final = 0.2


class _Counts(NamedTuple):
    """How many requests run, and how many tokens of prompts were ever computed."""

    running: float
    prompt_tokens: float


@dataclass(frozen=True, slots=True)
class Slot:
    """The slots of a pod's engine; one that is left must be free again within `seconds`."""

    scrape: Engines
    pod: Object
    seconds: float

    async def is_seen_freed_after(self, stream: AbstractAsyncContextManager[AsyncIterator[Chunk]]) -> bool:
        """Take up a stream, leave it, and tell whether its slot was seen to be free again.

        False where that can't be told: the counts can't be had, or users' requests have come meanwhile.
        Raises WrongAnswer where the slot stays taken, and what the stream raises.
        """
        before = await self._counts()
        async with stream as chunks:
            await anext(chunks, None)
            during = await self._counts()
        if not (before and during):
            return False
        after = await self._counts_once_free(before)
        if not after or after.running <= before.running:
            return after is not None
        if after.prompt_tokens > during.prompt_tokens:
            return False
        raise WrongAnswer(f"the request still runs {self.seconds:g} s after its client has left")

    async def _counts_once_free(self, before: _Counts) -> _Counts | None:
        """Return the counts as soon as no more requests run than before, or when the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.seconds
        while True:
            counts = await self._counts()
            if not counts or counts.running <= before.running or loop.time() > deadline:
                return counts
            await asyncio.sleep(_POLL_SECONDS)

    async def _counts(self) -> _Counts | None:
        for reading in (await self.scrape([self.pod])).readings:
            running = reading.gauges.get(RUNNING)
            prompt_tokens = reading.counters.get(PROMPT_TOKENS)
            if running is not None and prompt_tokens is not None:
                return _Counts(running, prompt_tokens)
        return None
