"""Preflights in the background: a reconcile starts them, and a later one finds their results.

A pod is examined once; one that could not be asked is examined again at the next reconcile. Nothing here
outlives the process: results go into the status, and a pod that has none there is examined anew.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.kinds import MODEL_DEPLOYMENT
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.preflight import Preflight, preflight_of
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)

_Task = asyncio.Task[PreflightStatus | None]

Examine = Callable[[Object, Preflight], Coroutine[None, None, PreflightStatus | None]]
"""Examines one pod; None where it could not be asked."""


@dataclass(slots=True)
class _Examined:
    """Of one ModelDeployment, by pod uid: what is under way, and what was found."""

    tasks: dict[str, _Task] = field(default_factory=dict)
    results: dict[str, PreflightStatus] = field(default_factory=dict)

    def keep(self, live: frozenset[str]) -> None:
        for uid in self.tasks.keys() - live:
            self.tasks.pop(uid).cancel()
        for uid in self.results.keys() - live:
            del self.results[uid]


class Preflights:
    """The examinations of all ModelDeployments, at most `at_a_time` at once.

    `ended` is told whose pod has a result; `exists` says whether a ModelDeployment is still there.
    """

    def __init__(
        self,
        examine: Examine,
        ended: Callable[[ObjectKey], None],
        exists: Callable[[ObjectKey], bool],
        at_a_time: int,
    ) -> None:
        self._examine = examine
        self._ended = ended
        self._exists = exists
        self._room = asyncio.Semaphore(at_a_time)
        self._examined: dict[ObjectKey, _Examined] = {}

    def __call__(self, observed: Observed) -> Mapping[str, PreflightStatus]:
        """Start what is to be examined, cancel what is gone, and return by pod uid what was found."""
        metadata = observed.deployment.metadata
        key = ObjectKey(MODEL_DEPLOYMENT.name, metadata.namespace, metadata.name)
        preflight = preflight_of(observed)
        self._forget(other for other in self._examined if not self._exists(other))
        if not preflight:
            self._forget([key])
            return {}
        examined = self._examined.setdefault(key, _Examined())
        examined.keep(preflight.live)
        self._start(key, preflight, without=_on_record(observed))
        return dict(examined.results)

    async def stop(self) -> None:
        """Cancel all examinations, and return when they have ended."""
        tasks = [task for examined in self._examined.values() for task in examined.tasks.values()]
        self._forget(self._examined)
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, keys: Iterable[ObjectKey]) -> None:
        for key in list(keys):
            if examined := self._examined.pop(key, None):
                examined.keep(frozenset())

    def _start(self, key: ObjectKey, preflight: Preflight, without: frozenset[str]) -> None:
        examined = self._examined[key]
        known = without | examined.tasks.keys() | examined.results.keys()
        for pod in preflight.canary:
            uid = pod["metadata"]["uid"]
            if uid not in known:
                task = examined.tasks[uid] = asyncio.create_task(self._in_turn(pod, preflight))
                task.add_done_callback(partial(self._end, key, uid))

    async def _in_turn(self, pod: Object, preflight: Preflight) -> PreflightStatus | None:
        async with self._room:
            return await self._examine(pod, preflight)

    def _end(self, key: ObjectKey, uid: str, task: _Task) -> None:
        """Keep what was found; a defect of ours says nothing of the pod, and is tried again."""
        examined = self._examined.get(key)
        if task.cancelled() or not examined or examined.tasks.get(uid) is not task:
            return
        del examined.tasks[uid]
        if error := task.exception():
            _log.error("Preflight failed unexpectedly, trying again", pod=uid, exc_info=error)
            return
        if result := task.result():
            examined.results[uid] = result
        self._ended(key)


def _on_record(observed: Observed) -> frozenset[str]:
    rollout = observed.deployment.status.rollout
    return frozenset(each.pod for each in rollout.preflight) if rollout else frozenset()
