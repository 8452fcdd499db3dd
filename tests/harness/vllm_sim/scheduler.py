"""Which requests run in a step, and how many tokens of each: vLLM's continuous batching, without a clock.

A step has a budget of tokens. Running requests get theirs first, oldest first; a request of which only the
newest token is left to compute decodes, any other is still in its prompt, and a long prompt takes several
steps. When blocks run out the youngest running request loses all of its blocks and waits again, at the front.
With what is left of the budget waiting requests are admitted in their order.

Source: vllm/v1/core/sched/scheduler.py.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from harness.vllm_sim.blocks import BlockPool


@dataclass(frozen=True)
class Limits:
    """What bounds a step, in requests, tokens and blocks of `block_size` tokens."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_blocks: int
    block_size: int = 16
    prefix_caching: bool = True


@dataclass(eq=False)
class Request:
    """What the scheduler knows of a request: its tokens, and how many of them are in the KV cache.

    `salt` keeps requests from sharing blocks; `cached` is how much of the prompt was found in the cache.
    """

    id: str
    tokens: list[int]
    salt: str | None = None
    computed: int = 0
    cached: int = 0
    preemptions: int = 0
    blocks: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """How many tokens are to be computed before the next one can be sampled."""
        return len(self.tokens) - self.computed


@dataclass
class Step:
    """One run of the model: tokens per request, and who had to give way for it."""

    shares: dict[Request, int] = field(default_factory=dict)
    preempted: list[Request] = field(default_factory=list)
    admitted: list[Request] = field(default_factory=list)


class Scheduler:
    """Two queues and a pool of blocks.

    Call `schedule`, then `advance`, then append a token to each request that this returned or `remove` it.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = BlockPool(limits.num_blocks)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    def add(self, request: Request) -> None:
        """Let the request wait. All its tokens, those to come too, must fit into the cache."""
        self.waiting.append(request)

    def remove(self, request: Request) -> None:
        """Forget a request, wherever it is, and free its blocks."""
        if request in self.running:
            self.running.remove(request)
        elif request in self.waiting:
            self.waiting.remove(request)
        self.pool.release(request.blocks)
        request.blocks = []

    def schedule(self, held: Collection[Request] = ()) -> Step:
        """Plan a step; held requests keep their places but take no part."""
        step = Step()
        budget = self._continue(step, held)
        if not step.preempted:
            self._admit(step, budget)
        return step

    def advance(self, step: Step) -> list[Request]:
        """Count the step as done; return the requests that now get their next token.

        Whoever was removed while the step ran has no blocks any more and is passed over.
        """
        done = {request: count for request, count in step.shares.items() if request.blocks}
        for request, count in done.items():
            request.computed += count
            self._remember(request)
        return [request for request in done if request.remaining == 0]

    def _continue(self, step: Step, held: Collection[Request]) -> int:
        budget = self.limits.max_num_batched_tokens
        for request in list(self.running):
            if budget == 0:
                break
            if request in held or request in step.preempted:
                continue
            count = min(request.remaining, budget)
            if self._grow(request, count, step):
                step.shares[request] = count
                budget -= count
        return budget

    def _admit(self, step: Step, budget: int) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_num_seqs:
            request = self.waiting[0]
            reused = self._reusable(request)
            if self._blocks_for(len(request.tokens)) - len(reused) > self.pool.free - self.pool.unheld(
                reused
            ):
                break
            self.waiting.popleft()
            self._start(request, reused)
            count = min(request.remaining, budget)
            self._grow(request, count, step)
            self.running.append(request)
            step.shares[request] = count
            step.admitted.append(request)
            budget -= count

    def _start(self, request: Request, reused: list[int]) -> None:
        self.pool.hold(reused)
        request.blocks = reused
        request.computed = len(reused) * self.limits.block_size
        if request.preemptions == 0:
            request.cached = request.computed

    def _grow(self, request: Request, count: int, step: Step) -> bool:
        """Give the request the blocks for `count` more tokens; False if it had to give way itself."""
        needed = self._blocks_for(request.computed + count) - len(request.blocks)
        while needed > self.pool.free:
            victim = self.running[-1]
            self._preempt(victim)
            step.preempted.append(victim)
            if victim is request:
                return False
        request.blocks += self.pool.take(needed)
        return True

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self.pool.release(request.blocks)
        request.blocks = []
        request.computed = 0
        request.preemptions += 1
        self.waiting.appendleft(request)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.limits.block_size)

    def _reusable(self, request: Request) -> list[int]:
        # The last token must be computed, or there would be nothing to sample the next one from.
        full = (len(request.tokens) - 1) // self.limits.block_size
        if not self.limits.prefix_caching:
            return []
        return self.pool.cached(self._keys(request, full))

    def _remember(self, request: Request) -> None:
        if not self.limits.prefix_caching:
            return
        full = request.computed // self.limits.block_size
        for block, key in zip(request.blocks, self._keys(request, full), strict=False):
            self.pool.remember(block, key)

    def _keys(self, request: Request, count: int) -> list[int]:
        """Keys of the first full blocks; each covers all before it, so equal keys are equal prefixes."""
        size = self.limits.block_size
        keys = request.keys
        while len(keys) < count:
            block = tuple(request.tokens[len(keys) * size : (len(keys) + 1) * size])
            keys.append(hash((keys[-1] if keys else request.salt, block)))
        return keys[:count]
