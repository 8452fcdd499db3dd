"""Questions that may take longer than the one who asks can wait.

A Prometheus that hangs must not keep a rollout from looking at its canary each second: the question goes on
by itself, and who asks again gets the answer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")

_KEPT_SECONDS: Final = 5.0
"""How long an answer waits for the one who asked; later it would be stale."""


class InFlight(Generic[Key, Answer]):
    """At most one question under way for each key."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Answer]] = {}

    async def ask(
        self, key: Key, question: Callable[[], Coroutine[None, None, Answer]], seconds: float
    ) -> Answer | None:
        """Return the answer if it comes within the seconds, else None; then the question goes on."""
        task = self._tasks.get(key) or self._begin(key, question())
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            return None
        self._forget(key, task)
        return task.result()

    def _begin(self, key: Key, question: Coroutine[None, None, Answer]) -> asyncio.Task[Answer]:
        loop = asyncio.get_running_loop()
        task = self._tasks[key] = loop.create_task(question)
        task.add_done_callback(lambda ended: loop.call_later(_KEPT_SECONDS, self._forget, key, ended))
        return task

    def _forget(self, key: Key, task: asyncio.Task[Answer]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
