"""The engine: one task that schedules steps, lets each take its time, and hands out the tokens.

How long a step takes is the only thing invented here: a fixed part, a part per request in the batch, and a
part per prompt token. What follows from it, queueing and batching, is the scheduler's. A step begins where
the one before it ended, whatever this process did meanwhile: vLLM's API server is a process of its own, whose
work makes no step longer.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from harness.vllm_sim import bytepairs
from harness.vllm_sim.config import EngineConfig
from harness.vllm_sim.faults import Faults, slowdown
from harness.vllm_sim.generation import Call, Generation, Order
from harness.vllm_sim.metrics import Metrics, Times
from harness.vllm_sim.output import Output, Piece
from harness.vllm_sim.sampling import Sampler, Sampling
from harness.vllm_sim.scheduler import Request, Scheduler, Step
from harness.vllm_sim.tokenizer import Tokenizer

log = logging.getLogger("vllm.engine")
OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. "
    "GPU 0 has a total capacity of 79.25 GiB of which 1.12 GiB is free."
)


class EngineClosedError(Exception):
    """The engine is shutting down and takes no new requests."""


class QueueFullError(Exception):
    """A queue limit refuses the request; its one argument is the name of the limit."""


@dataclass(frozen=True)
class Costs:
    """What a step takes, in seconds."""

    step: float = 0.005
    request: float = 0.0001
    prompt_token: float = 0.00002

    @classmethod
    def from_environment(cls) -> "Costs":
        """The costs that VLLM_SIM_DECODE_MS, _DECODE_MS_PER_SEQ and _PREFILL_US_PER_TOKEN set."""
        return cls(
            step=float(os.environ.get("VLLM_SIM_DECODE_MS", "5")) / 1e3,
            request=float(os.environ.get("VLLM_SIM_DECODE_MS_PER_SEQ", "0.1")) / 1e3,
            prompt_token=float(os.environ.get("VLLM_SIM_PREFILL_US_PER_TOKEN", "20")) / 1e6,
        )

    def of(self, requests: int, prompt_tokens: int) -> float:
        """Seconds for a step of so many requests that together compute so many tokens of prompts."""
        return self.step + self.request * requests + self.prompt_token * prompt_tokens


class Engine:
    """Serves one model; nothing is generated unless `run` is running."""

    def __init__(self, config: EngineConfig, costs: Costs, metrics: Metrics, faults: Faults) -> None:
        self.config = config
        self.metrics = metrics
        self.closing = False
        self._tokenizer = tokenizer_of(config)
        self._costs = costs
        self._scheduler = Scheduler(config.limits)
        self._generations: dict[Request, Generation] = {}
        self._late: dict[Request, float] = {}
        self._accepted = 0
        self._free_at = 0.0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.set_faults(faults)

    @property
    def faults(self) -> Faults:
        """What is wrong at the moment."""
        return self._faults

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model, or the wrong one."""
        return bytepairs.load("prose") if self.faults.other_tokenizer else self._tokenizer

    def set_faults(self, faults: Faults) -> None:
        """Break something, or mend all with no faults."""
        self._faults = faults
        self._faults_since = time.monotonic()
        self._wake.set()

    def check_admission(self, answers: int) -> None:
        """Raise QueueFullError if so many more answers would exceed a queue limit."""
        requests, tokens = self.config.max_num_queued_reqs, self.config.max_num_queued_tokens
        if requests is not None and len(self._generations) + answers > requests:
            self._reject("max_num_queued_reqs")
        if tokens is not None and self._queued_tokens() >= tokens:
            self._reject("max_num_queued_tokens")

    def generate(self, orders: Sequence[Order]) -> Call:
        """Queue the answers; raises EngineClosedError. The caller closes the call when it no longer waits."""
        if self.closing:
            raise EngineClosedError
        self._accepted += 1
        if self.faults.crash_after_requests is not None and self._accepted > self.faults.crash_after_requests:
            crash("EngineCore encountered a fatal error.")
        outbox: asyncio.Queue[Piece] = asyncio.Queue()
        generations = [self._queue(order, outbox) for order in orders]
        return Call(outbox, len(generations), partial(self._abort, generations))

    async def drain(self, seconds: float) -> None:
        """Take nothing new, give what runs so many seconds to end, and cut off the rest."""
        self.closing = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
        for generation in list(self._generations.values()):
            self._finish(generation, generation.output.abort())

    async def run(self) -> NoReturn:
        """Take steps for ever."""
        self._free_at = time.monotonic()
        while True:
            if self.faults.out_of_memory:
                crash(OUT_OF_MEMORY)
            self._deliver_late()
            step = Step() if self.faults.hang else self._scheduler.schedule(self._late.keys())
            self._note(step)
            if step.shares:
                await self._take(step)
            else:
                await self._sleep_until_needed()

    def _queue(self, order: Order, outbox: asyncio.Queue[Piece]) -> Generation:
        if self.faults.endless_output:
            order = replace(order, sampling=self._endless(order))
        request = Request(order.id, list(order.prompt), order.salt)
        generation = Generation(
            order=order,
            request=request,
            sampler=Sampler(self.tokenizer, self.config.weights, order.prompt, order.sampling),
            output=Output(self.tokenizer, order.sampling, order.index),
            outbox=outbox,
            times=Times(arrived=time.monotonic()),
        )
        self._generations[request] = generation
        self._scheduler.add(request)
        self._changed()
        return generation

    def _endless(self, order: Order) -> Sampling:
        room = self.config.max_model_len - len(order.prompt)
        return replace(order.sampling, max_tokens=room, ignore_eos=True, stop=(), stop_token_ids=())

    async def _take(self, step: Step) -> None:
        decoding = sum(self._has_output(request) for request in step.shares)
        prompt_tokens = sum(step.shares.values()) - decoding
        self._free_at += self._costs.of(len(step.shares), prompt_tokens)
        await asyncio.sleep(max(0, self._free_at - time.monotonic()))
        sampled = [self._generations[request] for request in self._scheduler.advance(step)]
        finished_prompts = [generation for generation in sampled if not generation.output.length]
        computed = sum(len(g.order.prompt) - g.request.cached for g in finished_prompts)
        self.metrics.step(step, computed, len(sampled))
        for generation in sampled:
            self._deliver_or_delay(generation, len(step.shares))
        self._changed()

    def _note(self, step: Step) -> None:
        """Book what the schedule itself decided."""
        now = time.monotonic()
        for request in step.preempted:
            self._late.pop(request, None)
        for request in step.admitted:
            if not self._generations[request].times.admitted:
                self._generations[request].times.admitted = now
                self.metrics.admitted(request)
        self.metrics.queues(self._scheduler)

    def _deliver_or_delay(self, generation: Generation, batch: int) -> None:
        delay = self._delay(generation, batch)
        if delay:
            self._late[generation.request] = time.monotonic() + delay
        else:
            self._deliver(generation)

    def _delay(self, generation: Generation, batch: int) -> float:
        """By how many seconds a fault holds back this token, as if its own part of the work took longer."""
        since = time.monotonic() - self._faults_since
        if generation.output.length:
            factor = slowdown(self.faults.slower_decode, generation.order.id, since)
            return (factor - 1) * self._costs.of(batch, 0)
        factor = slowdown(self.faults.slower_prefill, generation.order.id, since)
        computed = len(generation.order.prompt) - generation.request.cached
        return (factor - 1) * self._costs.of(batch, computed)

    def _deliver_late(self) -> None:
        now = time.monotonic()
        for request, due in list(self._late.items()):
            if due <= now:
                del self._late[request]
                self._deliver(self._generations[request])

    def _deliver(self, generation: Generation) -> None:
        token = generation.sampler.token(generation.output.length)
        generation.request.tokens.append(token)
        self._time(generation)
        piece = generation.output.add(token)
        if piece.finish_reason:
            self._finish(generation, piece)
        else:
            generation.outbox.put_nowait(piece)

    def _time(self, generation: Generation) -> None:
        now, times = time.monotonic(), generation.times
        if times.first_token:
            self.metrics.next_token(now - times.last_token)
        else:
            times.first_token = now
            self.metrics.first_token(times, len(generation.order.prompt), generation.request.cached)
        times.last_token = now

    def _finish(self, generation: Generation, piece: Piece) -> None:
        self.metrics.finished(generation.end(str(piece.finish_reason), time.monotonic()))
        generation.outbox.put_nowait(piece)
        self._forget(generation)

    def _abort(self, generations: Sequence[Generation]) -> None:
        if self.faults.deaf_to_leaving:
            return
        for generation in generations:
            if generation.request in self._generations:
                self._forget(generation)

    def _forget(self, generation: Generation) -> None:
        del self._generations[generation.request]
        self._late.pop(generation.request, None)
        self._scheduler.remove(generation.request)
        self._changed()

    def _changed(self) -> None:
        self.metrics.queues(self._scheduler)
        if self._generations:
            self._empty.clear()
        else:
            self._empty.set()
        self._wake.set()

    async def _sleep_until_needed(self) -> None:
        self._wake.clear()
        due = min(self._late.values(), default=None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), due and max(0, due - time.monotonic()))
        self._free_at = time.monotonic()

    def _has_output(self, request: Request) -> bool:
        return request.remaining == 1 and self._generations[request].output.length > 0

    def _queued_tokens(self) -> int:
        return sum(len(g.order.prompt) for g in self._generations.values() if not g.output.length)

    def _reject(self, limit: str) -> NoReturn:
        self.metrics.rejected(limit)
        raise QueueFullError(limit)


def tokenizer_of(config: EngineConfig) -> Tokenizer:
    """The tokenizer in the model's folder, or the built-in one for a model without."""
    file = Path(config.tokenizer, "tokenizer.json")
    if not file.is_file():
        return bytepairs.load("code")
    # An engine that needs no such library need not spend the time that this import takes.
    from harness.vllm_sim.tokenizer_file import TokenizerFile  # noqa: PLC0415

    return TokenizerFile(file, config.end_of_text)


def crash(message: str) -> NoReturn:
    """End the process as a fatal error does: no drain, exit code 1."""
    log.error(message)
    logging.shutdown()
    os._exit(1)
