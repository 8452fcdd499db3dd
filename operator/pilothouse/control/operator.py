"""The order in which the parts start and stop.

Start: probes, first fill, then watches, resync and the Lease; only its holder reconciles. Stop, on SIGTERM:
hand out no more keys, let the running reconciles finish, give the Lease back so that the standby goes on at
once, and end the watches last. When any part fails, all end and the process with them: a half-dead operator
would look alive.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.health import Health
from pilothouse.control.leader import Leader
from pilothouse.control.preflights import Preflights
from pilothouse.control.queue import Queue
from pilothouse.control.resync import Resync
from pilothouse.control.worker import Workers
from pilothouse.plan.observed import ObjectKey
from pilothouse.settings import Settings
from pilothouse.telemetry.logging import get_logger
from pilothouse.telemetry.modelinfo import Models

_log: Final = get_logger(__name__)

Watch = Callable[[Callable[[], None]], Awaitable[None]]
"""Watches until cancelled; calls what it is given once its own signal handlers are in place."""


@dataclass(frozen=True, slots=True)
class Operator:
    """All parts, put together."""

    settings: Settings
    queue: Queue[ObjectKey]
    workers: Workers
    resync: Resync
    leader: Leader
    models: Models
    gpus: GpuLedger
    preflights: Preflights
    health: Health
    watch: Watch
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raise an ExceptionGroup when a part fails."""
        self._handle_signals()
        async with self.health.serving():
            filling = asyncio.create_task(self.resync.fill())
            await self._unless_stopping(filling)
            if not self.stopping.is_set():
                await self._run_filled()
        _log.info("Stopped")

    async def _run_filled(self) -> None:
        async with asyncio.TaskGroup() as group:
            leading = group.create_task(self.leader.run(self._lead))
            others = [
                group.create_task(self.resync.run(self.settings.resync_seconds)),
                group.create_task(self.resync.discover(self.settings.discovery_seconds)),
                group.create_task(self._watch()),
            ]
            await self.stopping.wait()
            _log.info("Stopping")
            await self._drain()
            leading.cancel()
            await asyncio.wait([leading])
            for task in others:
                task.cancel()

    async def _lead(self) -> None:
        self.resync.enqueue_all()
        try:
            await self.workers.run()
        finally:
            self.models.clear()
            self.gpus.clear()
            # The next holder examines the same pods: two at once would see each other's requests.
            await self.preflights.stop()

    async def _watch(self) -> None:
        await self.watch(self._handle_signals)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.settings.stop_seconds):
                await self.queue.drain()
        except TimeoutError:
            _log.warning("Running reconciles are cut off", seconds=self.settings.stop_seconds)

    async def _unless_stopping(self, task: asyncio.Task[None]) -> None:
        """Wait for the task, or cancel it when the operator is asked to stop."""
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if task.done():
            await task
        task.cancel()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
