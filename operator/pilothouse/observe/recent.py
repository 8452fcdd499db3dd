"""The engines' counters of a few seconds ago: what an engine fails by is found however rare samples are.

A storm of errors is a share of what came since the engines were last counted, and a hang is as old as that at
most. Samples may be minutes apart, so here they are counted for this alone. It outlives no process: who has
just begun compares with the last sample until it has looked twice.
"""

from datetime import datetime, timedelta
from typing import Final

from pilothouse.api.rolloutpolicy import BUILT_IN, Analysis
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.kinds import MODEL_DEPLOYMENT
from pilothouse.plan.observed import ObjectKey, Observed
from pilothouse.plan.podcounters import tells
from pilothouse.plan.sampling import is_due, serving, take

_APART: Final = timedelta(seconds=5)
_FORGOTTEN_AFTER: Final = timedelta(minutes=1)


class Recent:
    """The counters of all rollouts whose samples are rarer than that."""

    def __init__(self) -> None:
        self._counted: dict[ObjectKey, SamplingStatus] = {}

    def __call__(self, observed: Observed) -> SamplingStatus | None:
        """Return what was counted before these readings; None where nothing was, or samples are as recent."""
        self._forget(observed.now)
        metadata = observed.deployment.metadata
        key = ObjectKey(MODEL_DEPLOYMENT.name, metadata.namespace, metadata.name)
        analysis = (observed.policy or BUILT_IN).analysis
        if timedelta(seconds=analysis.interval.seconds) <= _APART:
            return None
        before = self._counted.get(key)
        after = _counted(before, observed, analysis)
        if after:
            self._counted[key] = after
        return before

    def _forget(self, now: datetime) -> None:
        """Drop those that nobody counts any more."""
        known = self._counted.items()
        self._counted = {key: each for key, each in known if now - each.sampled_at < _FORGOTTEN_AFTER}


def _counted(before: SamplingStatus | None, observed: Observed, analysis: Analysis) -> SamplingStatus | None:
    """Count the engines' own word where it is time to; what Prometheus says may be older."""
    status, readings = observed.deployment.status, serving(observed.readings, observed.pods)
    own = [entry for entry in readings if entry.pod and entry.fresh and tells(entry)]
    if not own or not status.canary or not is_due(before, _APART, observed.now):
        return None
    after, _ = take(
        before,
        own,
        canary=status.canary.revision,
        stable=status.stable.revision if status.stable else "",
        counts=lambda _: {},
        warmup=analysis.warmup_requests,
        ready={},
        now=observed.now,
    )
    return after
