"""One writer at a time, by a Lease.

The holder renews; when it could not for `renew_deadline_seconds`, it stops its work, before anyone may take
the Lease at `lease_seconds`. A standby judges by its own clock how long the Lease has not moved, so clocks
need not agree. A holder that loses the Lease stands by again: its view of the cluster is warm, so an API
server that was away costs no restart.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Final

from pilothouse.act.kube import Kube
from pilothouse.errors import Conflict, NotFound, PilothouseError
from pilothouse.kinds import LEASE as LEASE_KIND
from pilothouse.names import LEASE
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.settings import Settings
from pilothouse.telemetry.logging import get_logger
from pilothouse.telemetry.metrics import LEADER

_log: Final = get_logger(__name__)

Work = Callable[[], Awaitable[None]]
"""What only the holder does; it never returns, and stops when it is cancelled."""


class StuckWorkError(RuntimeError):
    """The Lease is lost and the work does not stop: only the end of the process keeps two from writing."""


class Leader:
    """Holds the Lease when it can, and works only then."""

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._kube = kube
        self._settings = settings
        self._key = ObjectKey(LEASE_KIND.name, settings.namespace, LEASE)
        self._seen: Object = {}
        self._seen_at = 0.0
        self._renewed_at = -inf

    async def run(self, work: Work) -> None:
        """Take the Lease and work, over and over, until cancelled; then give the Lease back."""
        try:
            while True:
                await self._acquire()
                _log.info("Leading", identity=self._settings.identity)
                await self._work_while_held(work)
                _log.warning("Lease lost, standing by", identity=self._settings.identity)
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while not await self._try("acquire", self._take_if_free):  # noqa: ASYNC110 -- a Lease is polled
            await asyncio.sleep(self._settings.retry_seconds)

    async def _work_while_held(self, work: Work) -> None:
        task = asyncio.ensure_future(work())
        LEADER.set(1)
        try:
            await self._renew_until_lost(task)
        finally:
            LEADER.set(0)
            await self._stop(task)

    async def _renew_until_lost(self, work: asyncio.Future[None]) -> None:
        """Return when the Lease is lost; raise what the work raised when it failed."""
        while self._seconds_left() > 0:
            await asyncio.wait([work], timeout=min(self._settings.retry_seconds, self._seconds_left()))
            if work.done():
                await work
                raise RuntimeError("the work ended by itself")
            await self._try("renew", self._renew)

    async def _stop(self, work: asyncio.Future[None]) -> None:
        work.cancel()
        grace = self._settings.lease_seconds - self._settings.renew_deadline_seconds
        await asyncio.wait([work], timeout=max(grace, self._settings.stop_seconds))
        if not work.done():
            raise StuckWorkError

    async def _try(self, what: str, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Bound each attempt: a request that hangs must not outlive the Lease."""
        try:
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                return await attempt()
        except Conflict:
            return False
        except (PilothouseError, TimeoutError) as error:
            _log.warning("Lease not reached", attempt=what, error=str(error) or "timeout")
            return False

    async def _take_if_free(self) -> bool:
        started = _now()
        try:
            self._look_at(await self._kube.get(self._key), started)
        except NotFound:
            self._hold(await self._kube.create(self._lease({}, {})), started)
            return True
        if not self._is_free():
            return False
        self._hold(await self._kube.update(self._claimed()), started)
        return True

    async def _renew(self) -> bool:
        started = _now()
        try:
            self._hold(await self._kube.update(self._claimed()), started)
        except Conflict:
            # Someone touched the object, say by kubectl annotate: it is lost only if the holder changed.
            self._look_at(await self._kube.get(self._key), started)
            if _holder(self._seen) != self._settings.identity:
                self._renewed_at = -inf
        return True

    async def _release(self) -> None:
        if _holder(self._seen) != self._settings.identity:
            return
        # Left as it is, the Lease ends by itself a little later.
        with suppress(PilothouseError, TimeoutError):
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                while not await self._give_back():
                    pass

    async def _give_back(self) -> bool:
        """Try once; a renewal that was cut off may reach the server between our two requests."""
        lease = await self._kube.get(self._key)
        if _holder(lease) != self._settings.identity:
            return True
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._kube.update({**lease, "spec": spec})
        except Conflict:
            return False
        return True

    def _look_at(self, lease: Object, at: float) -> None:
        if lease.get("spec") != self._seen.get("spec"):
            self._seen_at = at
        self._seen = lease

    def _hold(self, lease: Object, since: float) -> None:
        """Count from before the request was sent: the server may have taken it at once and answered late."""
        self._look_at(lease, since)
        self._renewed_at = since

    def _is_free(self) -> bool:
        if _holder(self._seen) in ("", self._settings.identity):
            return True
        duration = self._seen["spec"].get("leaseDurationSeconds") or self._settings.lease_seconds
        return _now() - self._seen_at > duration

    def _seconds_left(self) -> float:
        return self._renewed_at + self._settings.renew_deadline_seconds - _now()

    def _claimed(self) -> Object:
        return self._lease(self._seen["metadata"], self._seen.get("spec") or {})

    def _lease(self, metadata: Object, spec: Object) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = spec.get("holderIdentity") == self._settings.identity
        return {
            "apiVersion": LEASE_KIND.api_version,
            "kind": LEASE_KIND.name,
            "metadata": {**metadata, "name": LEASE, "namespace": self._settings.namespace},
            "spec": {
                "holderIdentity": self._settings.identity,
                "leaseDurationSeconds": round(self._settings.lease_seconds),
                "acquireTime": spec.get("acquireTime", now) if ours else now,
                "renewTime": now,
                "leaseTransitions": spec.get("leaseTransitions", 0) + (0 if ours else 1),
            },
        }


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _now() -> float:
    return asyncio.get_running_loop().time()
