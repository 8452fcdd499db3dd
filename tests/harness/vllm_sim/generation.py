"""One answer from its order to its end, and the call that waits for all the answers to one HTTP request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from harness.vllm_sim.metrics import Finished, Times
from harness.vllm_sim.output import Output, Piece
from harness.vllm_sim.sampling import Sampler, Sampling
from harness.vllm_sim.scheduler import Request


@dataclass(frozen=True)
class Order:
    """An answer to be generated; `salt` keeps its cached prefix from requests with another salt."""

    id: str
    index: int
    prompt: Sequence[int]
    sampling: Sampling
    salt: str | None = None


@dataclass(eq=False)
class Generation:
    """An answer in the making; its pieces go to `outbox`."""

    order: Order
    request: Request
    sampler: Sampler
    output: Output
    outbox: asyncio.Queue[Piece]
    times: Times

    def end(self, reason: str, now: float) -> Finished:
        """What the metrics count of it."""
        sampling = self.order.sampling
        return Finished(
            reason=reason,
            choices=sampling.n if sampling.choice == 0 else 0,
            times=self.times,
            now=now,
            prompt_tokens=len(self.order.prompt),
            output_tokens=self.output.length,
            cached_tokens=self.request.cached,
            preemptions=self.request.preemptions,
            max_tokens=sampling.max_tokens,
        )


class Call:
    """The answers to one HTTP request, as pieces in the order in which they are made."""

    def __init__(self, outbox: asyncio.Queue[Piece], answers: int, cancel: Callable[[], None]) -> None:
        """`cancel` stops the work on whatever is not finished."""
        self._outbox = outbox
        self._answers = answers
        self.close = cancel

    async def pieces(self) -> AsyncIterator[Piece]:
        """Every piece; ends when all answers have."""
        unfinished = self._answers
        while unfinished:
            piece = await self._outbox.get()
            unfinished -= piece.finish_reason is not None
            yield piece
