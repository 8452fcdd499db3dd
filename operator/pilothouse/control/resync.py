"""Compares what is known with what is there.

At start every watched kind is listed once, by ourselves, before the first reconcile: a decision on half a
view would write. Later the versions of all objects are listed from time to time, and whenever kopf had to
list anew: it does not tell what vanished while its watch was away. The optional kinds are looked for as well.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

from pilothouse.act.kube import Kube
from pilothouse.control.queue import Priority, Queue
from pilothouse.errors import NotFound, PilothouseError
from pilothouse.kinds import CHILDREN, CHILDREN_SELECTOR, OPTIONAL, RECONCILED, WATCHED, Kind
from pilothouse.observe.store import Store, version_of
from pilothouse.plan.observed import ObjectKey, key_of
from pilothouse.telemetry.logging import get_logger
from pilothouse.telemetry.metrics import MISSED_CHANGES, RESYNCS

_log: Final = get_logger(__name__)

_FILL_RETRY_SECONDS: Final = 2.0
_LISTING_SECONDS: Final = 2.0
"""A listing of kopf's has ended when it brought nothing for so long."""
_LAG_SECONDS: Final = 3.0
"""How far a healthy watch may lag behind a list."""


class Resync:
    """Fills the Store at start and corrects it later."""

    def __init__(self, kube: Kube, store: Store, queue: Queue[ObjectKey], clock: Callable[[], float]) -> None:
        self._kube = kube
        self._store = store
        self._queue = queue
        self._clock = clock
        self._lost: dict[str, int] = {}
        self._relisted = asyncio.Event()
        self._listed_at = clock()
        self.filled = False
        self.attempted_at = clock()

    async def fill(self) -> None:
        """List every kind into the Store; try until the API server gives all of them."""
        while not self.filled:
            try:
                await self._fill_all()
            except PilothouseError as error:
                _log.warning("Can't list what is there, trying again", error=str(error))
                await asyncio.sleep(_FILL_RETRY_SECONDS)

    async def _fill_all(self) -> None:
        self._store.serve(await self._served_kinds())
        for kind in self._kinds():
            await self._fill(kind)
        self.filled = True
        self.attempted_at = self._clock()
        _log.info("Filled", objects={kind.name: len(self._store.keys(kind)) for kind in self._kinds()})

    async def _fill(self, kind: Kind) -> None:
        async for page in self._kube.pages(kind, selector=_selector(kind)):
            for obj in page.items:
                self._store.upsert(obj)

    def enqueue_all(self, priority: Priority = Priority.ROUTINE) -> None:
        """Queue every object that is reconciled."""
        for kind in RECONCILED:
            for key in self._store.keys(kind):
                self._queue.add(key, priority)

    def relisted(self) -> None:
        """Take note that kopf lists: it tells what is there, and not what vanished before."""
        self._listed_at = self._clock()
        self._relisted.set()

    async def run(self, seconds: float) -> None:
        """Compare about every `seconds`, and when kopf has listed."""
        while True:
            was_relisted = await self._pause(seconds)
            self.attempted_at = self._clock()
            try:
                missed = await self.compare()
            except PilothouseError as error:
                RESYNCS.labels("failure").inc()
                _log.warning("Resync failed", error=str(error))
                continue
            RESYNCS.labels("success").inc()
            if not was_relisted:
                self._lost = {kind: self._lost.get(kind, 0) + 1 for kind in missed}

    async def _pause(self, seconds: float) -> bool:
        """Wait for the time to pass or for a listing to end; tell whether it was a listing."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.9, 1.1)):  # noqa: S311 -- not cryptography
                await self._relisted.wait()
        except TimeoutError:
            return False
        while self._clock() - self._listed_at < _LISTING_SECONDS:  # noqa: ASYNC110 -- for silence, not for an event
            await asyncio.sleep(_LISTING_SECONDS)
        self._relisted.clear()
        return True

    async def compare(self) -> set[str]:
        """Correct the Store by what is there, queue what that concerns, and name the kinds that needed it."""
        needed = set()
        for kind in self._kinds():
            if missed := await self._missed(kind):
                await asyncio.sleep(_LAG_SECONDS)
                missed &= await self._missed(kind)
            for key in missed:
                await self._correct(key)
                needed.add(kind.name)
        return needed

    async def _missed(self, kind: Kind) -> set[ObjectKey]:
        """Return the keys whose version in the Store is not the one that is there."""
        there, as_of = await self._versions(kind)
        known = {key: self._store.version(key) or 0 for key in self._store.keys(kind)}
        self._store.forget_evictions(as_of - _OLD_VERSIONS)
        vanished = {key for key, version in known.items() if key not in there and version <= as_of}
        return vanished | {key for key, version in there.items() if known.get(key, 0) < version}

    async def _versions(self, kind: Kind) -> tuple[dict[ObjectKey, int], int]:
        versions: dict[ObjectKey, int] = {}
        as_of = 0
        async for page in self._kube.pages(kind, selector=_selector(kind), metadata_only=True):
            versions |= {key_of(item): version_of(item) for item in page.items}
            as_of = page.resource_version
        return versions, as_of

    async def _correct(self, key: ObjectKey) -> None:
        MISSED_CHANGES.labels(key.kind).inc()
        _log.warning(
            "A watch missed a change", object=f"{key.kind}/{key.name}", object_namespace=key.namespace
        )
        affected = self._store.affected_by(key)
        try:
            self._store.upsert(await self._kube.get(key))
        except NotFound:
            self._store.evict(key, self._store.version(key) or 0)
        self._queue_all(affected | self._store.affected_by(key))

    async def discover(self, seconds: float) -> None:
        """Look for the optional kinds every `seconds`: what comes is listed, what goes is dropped."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._take_in(await self._served_kinds())
            except PilothouseError as error:
                _log.warning("Discovery failed", error=str(error))

    async def _take_in(self, served: frozenset[Kind]) -> None:
        known = frozenset(kind for kind in OPTIONAL if kind.name in self._store.served_kinds)
        if served == known:
            return
        for kind in served - known:
            await self._fill(kind)
        for kind in known - served:
            self._drop(kind)
        self._store.serve(served)
        _log.info("Optional kinds changed", served=sorted(kind.name for kind in served))
        self.enqueue_all(Priority.CHANGE)

    def _drop(self, kind: Kind) -> None:
        for key in self._store.keys(kind):
            self._store.evict(key, self._store.version(key) or 0)

    async def _served_kinds(self) -> frozenset[Kind]:
        by_version: dict[tuple[str, str], list[Kind]] = {}
        for kind in OPTIONAL:
            by_version.setdefault((kind.group, kind.version), []).append(kind)
        served = {version: await self._kube.served(*version) for version in by_version}
        return frozenset(
            kind for version, kinds in by_version.items() for kind in kinds if kind.plural in served[version]
        )

    def _kinds(self) -> Iterable[Kind]:
        return (kind for kind in WATCHED if not kind.optional or kind.name in self._store.served_kinds)

    def _queue_all(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key, Priority.ROUTINE)

    def lost_watches(self) -> list[str]:
        """Name the kinds whose watch missed changes in two comparisons in a row."""
        return [kind for kind, times in self._lost.items() if times > 1]


_OLD_VERSIONS: Final = 100_000


def _selector(kind: Kind) -> str:
    return CHILDREN_SELECTOR if kind in CHILDREN else ""
