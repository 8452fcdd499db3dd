"""Continuous batching as pure logic: what holds in every step, whatever the requests are."""

import math
from collections.abc import Sequence
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from harness.vllm_sim.scheduler import Limits, Request, Scheduler, Step

BLOCK = 4
CAPACITY = 12
LONGEST = BLOCK * CAPACITY
ROOMY = Limits(max_num_seqs=8, max_num_batched_tokens=64, num_blocks=64, block_size=BLOCK)


def request(name: str, length: int, first: int = 0) -> Request:
    return Request(name, list(range(first, first + length)))


def run(scheduler: Scheduler) -> tuple[Step, list[Request]]:
    step = scheduler.schedule()
    return step, scheduler.advance(step)


@st.composite
def workloads(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Requests as (prompt length, output length, first token); none is longer than the whole cache."""
    one = st.tuples(st.integers(1, LONGEST - 1), st.integers(1, LONGEST), st.integers(0, 3))
    drawn = draw(st.lists(one, min_size=1, max_size=12))
    return [(prompt, min(output, LONGEST - prompt), first) for prompt, output, first in drawn]


class Simulation:
    """Runs a workload to its end and checks what must hold in every step."""

    def __init__(self, limits: Limits, workload: Sequence[tuple[int, int, int]]) -> None:
        self.scheduler = Scheduler(limits)
        self.wanted: dict[Request, int] = {}
        self.first_admitted: list[Request] = []
        self.computed: dict[Request, int] = {}
        self.finished: list[Request] = []
        for number, (prompt, output, first) in enumerate(workload):
            added = request(str(number), prompt, first)
            self.wanted[added] = prompt + output
            self.scheduler.add(added)

    def run(self) -> None:
        for steps in count():
            assert steps < 20_000, "some request never ends"
            if not (self.scheduler.waiting or self.scheduler.running):
                return
            self.step()

    def step(self) -> None:
        step = self.scheduler.schedule()
        self.check(step)
        for admitted in step.admitted:
            if admitted not in self.first_admitted:
                self.first_admitted.append(admitted)
        for sampled in self.scheduler.advance(step):
            sampled.tokens.append(-len(sampled.tokens))
            if len(sampled.tokens) == self.wanted[sampled]:
                self.scheduler.remove(sampled)
                self.finished.append(sampled)

    def check(self, step: Step) -> None:
        limits = self.scheduler.limits
        assert step.shares, "a step without work while requests wait"
        assert len(self.scheduler.running) <= limits.max_num_seqs
        assert 0 < sum(step.shares.values()) <= limits.max_num_batched_tokens
        assert all(1 <= share <= member.remaining for member, share in step.shares.items())
        held = {block for member in self.scheduler.running for block in member.blocks}
        assert len(held) == limits.num_blocks - self.scheduler.pool.free
        for member, share in step.shares.items():
            assert len(member.blocks) == math.ceil((member.computed + share) / limits.block_size)
        assert not any(member.blocks for member in self.scheduler.waiting)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    seqs, budget = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    return Limits(seqs, max(seqs, budget), CAPACITY, BLOCK, prefix_caching=draw(st.booleans()))


@given(workloads(), limits())
def test_every_request_ends_with_all_its_tokens_within_all_limits(
    workload: list[tuple[int, int, int]], limits: Limits
) -> None:
    simulation = Simulation(limits, workload)
    simulation.run()
    assert {len(done.tokens) == simulation.wanted[done] for done in simulation.finished} == {True}
    assert len(simulation.finished) == len(workload)
    assert simulation.scheduler.pool.free == CAPACITY


@given(workloads(), st.integers(1, 6), st.integers(6, 40))
def test_requests_are_first_admitted_in_the_order_they_came(
    workload: list[tuple[int, int, int]], seqs: int, budget: int
) -> None:
    simulation = Simulation(Limits(seqs, budget, CAPACITY, BLOCK), workload)
    simulation.run()
    assert [int(admitted.id) for admitted in simulation.first_admitted] == list(range(len(workload)))


@given(workloads())
def test_without_preemption_or_cache_each_token_is_computed_once(
    workload: list[tuple[int, int, int]],
) -> None:
    blocks = CAPACITY * len(workload)
    simulation = Simulation(Limits(12, 64, blocks, BLOCK, prefix_caching=False), workload)
    computed = 0
    while simulation.scheduler.waiting or simulation.scheduler.running:
        step = simulation.scheduler.schedule()
        computed += sum(step.shares.values())
        assert not step.preempted
        for sampled in simulation.scheduler.advance(step):
            sampled.tokens.append(0)
            if len(sampled.tokens) == simulation.wanted[sampled]:
                simulation.scheduler.remove(sampled)
    # The last token of each request is sampled, and never computed.
    assert computed == sum(prompt + output - 1 for prompt, output, _ in workload)


def test_a_long_prompt_takes_several_steps_and_others_decode_meanwhile() -> None:
    scheduler = Scheduler(Limits(8, max_num_batched_tokens=10, num_blocks=64, block_size=BLOCK))
    short, long = request("short", 4), request("long", 25, first=100)
    scheduler.add(short)
    step, sampled = run(scheduler)
    sampled[0].tokens.append(9)
    scheduler.add(long)
    shares = []
    while long.remaining:
        step, sampled = run(scheduler)
        shares.append((step.shares[short], step.shares[long]))
        short.tokens.append(9)
    assert shares == [(1, 9), (1, 9), (1, 7)]


def test_the_youngest_gives_way_when_blocks_run_out_and_starts_again_at_the_front() -> None:
    scheduler = Scheduler(Limits(8, 64, num_blocks=4, block_size=BLOCK))
    old, young, next_one = request("old", 8), request("young", 8, first=50), request("next", 4, first=90)
    for added in (old, young, next_one):
        scheduler.add(added)
    _, sampled = run(scheduler)
    for member in sampled:
        member.tokens.append(7)
    step, sampled = run(scheduler)
    assert (step.preempted, sampled) == ([young], [old])
    assert list(scheduler.waiting) == [young, next_one]
    assert (young.preemptions, young.computed, young.blocks) == (1, 0, [])


def test_a_request_that_begins_like_a_finished_one_computes_only_the_rest() -> None:
    scheduler = Scheduler(ROOMY)
    first = request("first", 10)
    scheduler.add(first)
    run(scheduler)
    scheduler.remove(first)
    again = request("again", 10)
    scheduler.add(again)
    step, _ = run(scheduler)
    assert (again.cached, step.shares[again]) == (8, 2)


def test_another_salt_shares_nothing() -> None:
    scheduler = Scheduler(ROOMY)
    scheduler.add(request("first", 10))
    run(scheduler)
    salted = Request("salted", list(range(10)), salt="tenant")
    scheduler.add(salted)
    run(scheduler)
    assert salted.cached == 0


def test_a_whole_cached_prompt_still_computes_its_last_token() -> None:
    scheduler = Scheduler(ROOMY)
    scheduler.add(request("first", 8))
    run(scheduler)
    again = request("again", 8)
    scheduler.add(again)
    step, _ = run(scheduler)
    assert (again.cached, step.shares[again]) == (4, 4)


def test_a_removed_request_frees_its_place_and_its_blocks() -> None:
    scheduler = Scheduler(Limits(1, 64, num_blocks=8, block_size=BLOCK))
    gone, waiting = request("gone", 16), request("waiting", 16, first=40)
    scheduler.add(gone)
    scheduler.add(waiting)
    run(scheduler)
    scheduler.remove(gone)
    assert scheduler.pool.usage == 0
    step, _ = run(scheduler)
    assert list(step.shares) == [waiting]


def test_a_held_request_keeps_its_place_but_takes_no_part() -> None:
    scheduler = Scheduler(ROOMY)
    slow, other = request("slow", 4), request("other", 4, first=30)
    scheduler.add(slow)
    scheduler.add(other)
    for member in run(scheduler)[1]:
        member.tokens.append(5)
    step = scheduler.schedule(held={slow})
    assert list(step.shares) == [other]
    assert slow in scheduler.running
