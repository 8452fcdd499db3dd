"""The reconcilers of all kinds, and what they have in common: log context, metrics, and how errors end.

A further kind is one more entry here, and one more in `kinds.RECONCILED`.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from pilothouse.act.kube import Kube
from pilothouse.control.outcome import DONE, Outcome, Reconciler, Result
from pilothouse.control.queue import Priority
from pilothouse.errors import NotFound, Outdated, Retryable, Terminal
from pilothouse.observe.store import Store
from pilothouse.plan.observed import ObjectKey
from pilothouse.telemetry import metrics
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Controllers:
    """Reconciles an object by the reconciler of its kind."""

    store: Store
    kube: Kube
    reconcilers: Mapping[str, Reconciler]

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Reconcile; every exception ends here, as an outcome."""
        controller = controller_of(key.kind)
        live = self.store.get(key)
        with (
            metrics.ACTIVE_WORKERS.labels(controller).track_inprogress(),
            metrics.RECONCILE_SECONDS.labels(controller).time(),
            structlog.contextvars.bound_contextvars(
                controller=controller,
                namespace=key.namespace,
                name=key.name,
                generation=live["metadata"].get("generation") if live else None,
                reconcile_id=uuid.uuid4().hex[:12],
            ),
        ):
            outcome = await self._guarded(key, controller)
        metrics.RECONCILES.labels(controller, outcome.result).inc()
        return outcome

    async def _guarded(self, key: ObjectKey, controller: str) -> Outcome:
        try:
            return await self._reconcile(key)
        except NotFound:
            return DONE
        except Retryable as error:
            metrics.RECONCILE_ERRORS.labels(controller).inc()
            _log.warning("Reconcile failed, trying again", error=str(error))
            return Outcome(Result.RETRY, error.retry_after or 0.0)
        except Terminal as error:
            metrics.TERMINAL_ERRORS.labels(controller).inc()
            _log.error("Reconcile refused", error=str(error))
            return Outcome(Result.GIVE_UP)
        except Exception:  # noqa: BLE001 -- the one edge: a defect costs one key, never the process
            metrics.RECONCILE_ERRORS.labels(controller).inc()
            _log.exception("Reconcile failed unexpectedly, trying again")
            return Outcome(Result.RETRY)

    async def _reconcile(self, key: ObjectKey) -> Outcome:
        try:
            return await self.reconcilers[key.kind](key)
        except Outdated:
            return await self._look_anew(key)

    async def _look_anew(self, key: ObjectKey) -> Outcome:
        """Read what the watch has not brought yet, and begin again at once."""
        _log.info("Changed meanwhile, looking anew")
        self.store.upsert(await self.kube.get(key))
        return Outcome(Result.AGAIN, priority=Priority.CHANGE)


def controller_of(kind: str) -> str:
    """Name the controller of a kind, as controller-runtime would."""
    return kind.lower()
