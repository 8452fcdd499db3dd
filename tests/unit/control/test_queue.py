import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.control.queue import Priority, Queue
from virtual_time import now, run


class _NoJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def in_virtual_time(test: Callable[[Queue[str]], Awaitable[None]]) -> Callable[[], None]:
    async def call() -> None:
        await test(Queue(_NoJitter()))

    def sync() -> None:
        run(call())

    sync.__name__ = test.__name__
    return sync


async def _next(queue: Queue[str]) -> str:
    async with asyncio.timeout(1000):
        return await queue.get()


async def _is_empty(queue: Queue[str]) -> bool:
    try:
        async with asyncio.timeout(0.001):
            await queue.get()
    except TimeoutError:
        return True
    return False


@in_virtual_time
async def test_a_key_that_waits_is_not_queued_again(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert await _next(queue) == "a"
    assert await _is_empty(queue)


@in_virtual_time
async def test_a_key_under_way_is_not_handed_out_twice(queue: Queue[str]) -> None:
    queue.add("a")
    await _next(queue)
    queue.add("a")
    assert await _is_empty(queue)


@in_virtual_time
async def test_a_key_that_came_in_while_under_way_is_queued_when_given_back(queue: Queue[str]) -> None:
    queue.add("a")
    await _next(queue)
    queue.add("a")
    queue.done("a")
    assert await _next(queue) == "a"


@in_virtual_time
async def test_a_key_given_back_is_gone(queue: Queue[str]) -> None:
    queue.add("a")
    await _next(queue)
    queue.done("a")
    assert await _is_empty(queue)


@in_virtual_time
async def test_changes_go_before_resyncs(queue: Queue[str]) -> None:
    queue.add("old", Priority.ROUTINE)
    queue.add("new")
    assert [await _next(queue), await _next(queue)] == ["new", "old"]


@in_virtual_time
async def test_a_change_lifts_a_key_that_waits_for_a_resync(queue: Queue[str]) -> None:
    queue.add("a", Priority.ROUTINE)
    queue.add("b", Priority.ROUTINE)
    queue.add("b")
    assert [await _next(queue), await _next(queue)] == ["b", "a"]
    assert await _is_empty(queue)


@in_virtual_time
async def test_a_delayed_key_comes_when_it_is_due(queue: Queue[str]) -> None:
    queue.add_after("a", 30)
    assert await _next(queue) == "a"
    assert now() == pytest.approx(30)


@in_virtual_time
async def test_of_two_timers_the_sooner_counts(queue: Queue[str]) -> None:
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    await _next(queue)
    queue.done("a")
    assert now() == pytest.approx(10)
    assert await _is_empty(queue)


@in_virtual_time
async def test_a_look_at_a_canary_goes_before_other_timers(queue: Queue[str]) -> None:
    queue.add_after("routine", 1)
    queue.add_after("canary", 1, Priority.CHANGE)
    await asyncio.sleep(2)
    assert [await _next(queue), await _next(queue)] == ["canary", "routine"]


@in_virtual_time
async def test_of_two_timers_the_better_priority_counts(queue: Queue[str]) -> None:
    queue.add_after("a", 1)
    queue.add_after("b", 1, Priority.CHANGE)
    queue.add_after("b", 0.5)
    queue.add_after("c", 1)
    queue.add_after("c", 2, Priority.CHANGE)
    await asyncio.sleep(3)
    assert [await _next(queue) for _ in range(3)] == ["b", "c", "a"]


@in_virtual_time
async def test_taking_a_key_drops_its_timer(queue: Queue[str]) -> None:
    queue.add_after("a", 5)
    queue.add("a")
    await _next(queue)
    queue.done("a")
    await asyncio.sleep(10)
    assert await _is_empty(queue)


@in_virtual_time
async def test_each_failure_doubles_the_wait_up_to_a_minute(queue: Queue[str]) -> None:
    waits = [queue.retry("a") for _ in range(12)]
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert max(waits) == pytest.approx(60)


@in_virtual_time
async def test_success_forgets_the_backoff(queue: Queue[str]) -> None:
    for _ in range(5):
        queue.retry("a")
    queue.forget("a")
    assert queue.retry("a") == pytest.approx(0.1)


@in_virtual_time
async def test_a_retry_waits_as_long_as_the_server_asks(queue: Queue[str]) -> None:
    assert queue.retry("a", at_least=7) == pytest.approx(7)


def test_backoffs_of_many_keys_are_spread() -> None:
    async def waits() -> set[float]:
        queue = Queue[int](random.Random(1))  # noqa: S311 -- not cryptography
        return {queue.retry(key) for key in range(100)}

    spread = run(waits())
    assert len(spread) == 100
    assert min(spread) >= 0.05
    assert max(spread) <= 0.1


@in_virtual_time
async def test_draining_hands_out_no_more_keys(queue: Queue[str]) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await queue.drain()
    queue.add("a")
    await asyncio.sleep(1)
    assert not waiting.done()
    waiting.cancel()


@in_virtual_time
async def test_draining_waits_for_keys_under_way(queue: Queue[str]) -> None:
    queue.add("a")
    await _next(queue)
    asyncio.get_running_loop().call_later(3, queue.done, "a")
    await queue.drain()
    assert now() == pytest.approx(3)


@in_virtual_time
async def test_the_oldest_key_under_way_tells_its_age(queue: Queue[str]) -> None:
    assert queue.oldest_running() == 0
    queue.add("a")
    await _next(queue)
    await asyncio.sleep(20)
    queue.add("b")
    await _next(queue)
    assert queue.oldest_running() == pytest.approx(20)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc")),
        st.tuples(st.just("later"), st.sampled_from("abc")),
        st.tuples(st.just("fail"), st.sampled_from("abc")),
        st.tuples(st.just("pass"), st.just("")),
    ),
    max_size=60,
)


@given(steps=_STEPS, workers=st.integers(1, 4))
def test_no_history_runs_a_key_twice_at_a_time_or_loses_one(
    steps: list[tuple[str, str]], workers: int
) -> None:
    async def play() -> None:
        queue = Queue[str](random.Random(0))  # noqa: S311 -- not cryptography
        running: list[str] = []
        seen: dict[str, float] = {}
        asked: dict[str, float] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in running
                running.append(key)
                seen[key] = now()
                await asyncio.sleep(0.5)
                running.remove(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for step, key in steps:
            if step == "pass":
                await asyncio.sleep(0.3)
                continue
            {"add": queue.add, "later": lambda k: queue.add_after(k, 2), "fail": queue.retry}[step](key)
            asked[key] = now()
        await asyncio.sleep(200)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert {key for key in asked if seen.get(key, -1) >= asked[key]} == set(asked)

    run(play())
