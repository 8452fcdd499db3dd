"""One Gateway, looked at once: who calls through it, and what has to lie beside it for that.

The Gateway itself is its owner's, and nothing is written to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pilothouse.act.apply import Apply
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.observe.store import Store
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.traffic import Traffic, gateway_plan
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateways:
    """Brings what lies beside a Gateway closer to what its callers need."""

    store: Store
    look: Callable[[], Traffic]
    apply: Apply

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Reconcile; raises what stood in the way."""
        gateway = self.store.get(key)
        if gateway is None or gateway["metadata"].get("deletionTimestamp"):
            return DONE
        traffic = self.look()
        applied = await self.apply(gateway_plan(traffic, gateway), traffic.parts.get(key, {}))
        for refused, why in applied.refusals.items():
            _log.warning("Refused", object=f"{refused.kind}/{refused.name}", error=why)
        return Outcome(Result.RETRY) if applied.refused else DONE
