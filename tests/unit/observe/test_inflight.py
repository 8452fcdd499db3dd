import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pilothouse.observe.inflight import InFlight
from virtual_time import now, run


def answering(answer: str, seconds: float, asked: list[float]) -> Callable[[], Coroutine[Any, Any, str]]:
    """A question that is answered after so many seconds; `asked` tells when it was asked."""

    async def question() -> str:
        asked.append(now())
        await asyncio.sleep(seconds)
        return answer

    return question


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def sync() -> None:
        run(test())

    sync.__name__ = test.__name__
    return sync


@in_virtual_time
async def test_an_answer_in_time_is_returned_at_once() -> None:
    assert await InFlight[str, str]().ask("a", answering("yes", 0.2, []), 1) == "yes"
    assert now() == pytest.approx(0.2)


@in_virtual_time
async def test_nobody_waits_longer_than_he_can_and_the_answer_comes_the_next_time() -> None:
    asked: list[float] = []
    questions, question = InFlight[str, str](), answering("yes", 2.5, asked)
    answers = [await questions.ask("a", question, 1) for _ in range(3)]
    assert answers == [None, None, "yes"]
    assert asked == [0.0]


@in_virtual_time
async def test_each_answer_is_given_once() -> None:
    asked: list[float] = []
    questions, question = InFlight[str, str](), answering("yes", 0, asked)
    assert [await questions.ask("a", question, 1) for _ in range(2)] == ["yes", "yes"]
    assert len(asked) == 2


@in_virtual_time
async def test_an_answer_that_nobody_fetched_is_not_given_when_it_is_old() -> None:
    asked: list[float] = []
    questions = InFlight[str, str]()
    await questions.ask("a", answering("old", 2, asked), 1)
    await asyncio.sleep(60)
    assert await questions.ask("a", answering("new", 0, asked), 1) == "new"


@in_virtual_time
async def test_one_question_does_not_hold_up_another() -> None:
    questions = InFlight[str, str]()
    assert await questions.ask("a", answering("slow", 100, []), 1) is None
    assert await questions.ask("b", answering("fast", 0, []), 1) == "fast"


@in_virtual_time
async def test_an_error_reaches_the_one_who_asked() -> None:
    async def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await InFlight[str, str]().ask("a", fail, 1)
