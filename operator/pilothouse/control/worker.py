"""Workers take keys from the Queue, reconcile them and put them back as the outcome says."""

import asyncio

from pilothouse.control.outcome import Outcome, Reconciler, Result
from pilothouse.control.queue import Queue
from pilothouse.plan.observed import ObjectKey
from pilothouse.telemetry.metrics import MAX_CONCURRENT


class Workers:
    """A fixed number of workers on one queue."""

    def __init__(self, queue: Queue[ObjectKey], reconcile: Reconciler, count: int) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._count = count

    async def run(self) -> None:
        """Work until cancelled."""
        MAX_CONCURRENT.set(self._count)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                self._put_back(key, await self._reconcile(key))
            finally:
                self._queue.done(key)
            # A reconcile that finds nothing to do never suspends; the Lease must be renewed meanwhile.
            await asyncio.sleep(0)

    def _put_back(self, key: ObjectKey, outcome: Outcome) -> None:
        if outcome.result is Result.RETRY:
            self._queue.retry(key, at_least=outcome.after)
            return
        self._queue.forget(key)
        if outcome.result is Result.AGAIN:
            self._queue.add_after(key, outcome.after, outcome.priority)
