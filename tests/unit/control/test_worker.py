import asyncio

import pytest

from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.control.queue import Queue
from pilothouse.control.worker import Workers
from pilothouse.plan.observed import ObjectKey
from virtual_time import now, run

KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")


def _times(*outcomes: Outcome) -> list[float]:
    """Tell when a key is reconciled that ends as given, one after the other."""

    async def play() -> list[float]:
        queue = Queue[ObjectKey]()
        left, times = list(outcomes), []

        async def reconcile(_: ObjectKey) -> Outcome:
            times.append(now())
            return left.pop(0)

        working = asyncio.create_task(Workers(queue, reconcile, 2).run())
        queue.add(KEY)
        await asyncio.sleep(1000)
        working.cancel()
        await asyncio.wait([working])
        return times

    return run(play())


def test_what_is_done_does_not_come_back() -> None:
    assert _times(DONE) == [0]


def test_again_comes_back_when_the_plan_says() -> None:
    assert _times(Outcome(Result.AGAIN, 30), DONE) == pytest.approx([0, 30])


def test_a_retry_comes_back_ever_later() -> None:
    retry = Outcome(Result.RETRY)
    times = _times(retry, retry, retry, DONE)
    assert 0.05 <= times[1] - times[0] <= 0.1
    assert 0.2 <= times[3] - times[2] <= 0.4


def test_what_is_given_up_waits_for_a_change() -> None:
    assert _times(Outcome(Result.GIVE_UP)) == [0]


def test_many_keys_are_worked_on_at_a_time_and_no_more_than_there_are_workers() -> None:
    async def play() -> int:
        queue = Queue[ObjectKey]()
        running, most = 0, 0

        async def reconcile(_: ObjectKey) -> Outcome:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            return DONE

        for number in range(20):
            queue.add(ObjectKey("ModelDeployment", "team-ide", str(number)))
        working = asyncio.create_task(Workers(queue, reconcile, 4).run())
        await asyncio.sleep(100)
        working.cancel()
        await asyncio.wait([working])
        return most

    assert run(play()) == 4
