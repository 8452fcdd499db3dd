"""Failures of a canary that need no samples: an ordered list of symptoms, the first hit wins.

A symptom that stable shows at the same time is none of the canary's: a node, a gateway or a client is at
fault then. What an operator does by itself, such as deleting a pod, is no symptom either.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from typing import Final

from pilothouse.api.samplingstatus import ArmCounters, PodCounters, SamplingStatus
from pilothouse.names import Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.fetched import REFUTES, fetch_failure
from pilothouse.plan.observed import Object
from pilothouse.plan.podcounters import counters_of, is_restarted, is_stuck, tells
from pilothouse.plan.pods import pods_of
from pilothouse.plan.podstate import (
    cause_of_end,
    engine_status,
    is_gone,
    is_silent,
    last_end,
    restarts,
    was_ready,
)
from pilothouse.plan.readings import Reading
from pilothouse.plan.sampling import STORM, serving

_LOST_WITH_NODE: Final = frozenset({"ContainerStatusUnknown", "Unknown"})
"""Reasons of an end that a kubelet gives when it comes back and finds a container gone."""
_LOOP: Final = 2
"""From how many restarts on an engine that never served counts as one that never will."""
_FEWEST_ERRORS: Final = 3
_CHANCE: Final = log(1e-5)
"""Logarithm of how unlikely a storm must be at stable's share of errors: it is looked for each second."""
_PRIOR: Final = 100
"""As many requests with one error are taken for known before stable has shown its share."""
_LEEWAY: Final = 4
"""Good requests that stable is granted, so that one error of a few proves no storm."""
_STABLE_IS_ASKED: Final = timedelta(seconds=5)
"""How long after a sample a storm waits to hear of stable."""
_HANGS: Final = timedelta(seconds=10)
_HANGS_WARMING: Final = timedelta(seconds=60)
"""First requests of a kind may compile kernels for that long."""


def failure_of(
    pods: Sequence[Object],
    readings: Sequence[Reading],
    sampling: SamplingStatus | None,
    canary: str,
    stable: str,
) -> Cause | None:
    """Return why this canary must lose its traffic at once, None where nothing says so.

    `sampling` is what was remembered before these readings are counted.
    """
    told = [reading for reading in serving(readings, pods) if tells(reading)]
    seen = _Seen(
        canary=_side(pods, told, canary, sampling.canary if sampling else ArmCounters()),
        stable=_side(pods, told, stable, sampling.stable if sampling else ArmCounters()),
        sampled_at=sampling.sampled_at if sampling else None,
    )
    return next((cause for symptom in _SYMPTOMS if (cause := symptom(seen))), None)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A pod's counters when last counted, and now."""

    old: PodCounters
    new: PodCounters
    at: datetime


@dataclass(frozen=True, slots=True)
class _Side:
    """One revision: its pods that are not on their way out, and what they counted."""

    pods: tuple[Object, ...]
    counters: ArmCounters
    pairs: tuple[_Pair, ...]

    @property
    def new_errors(self) -> int:
        """Errors since the last sample."""
        return sum(max(0, pair.new.errors - pair.old.errors) for pair in self.pairs)

    @property
    def errors(self) -> int:
        """Errors since the last calm sample."""
        return self.counters.storm_errors + self.new_errors

    @property
    def requests(self) -> int:
        """Requests since the last calm sample."""
        return self.counters.storm_requests + sum(
            max(0, pair.new.requests - pair.old.requests) for pair in self.pairs
        )

    def name_of(self, uid: str) -> str:
        """Name a pod for people."""
        return next((str(pod["metadata"]["name"]) for pod in self.pods if pod["metadata"]["uid"] == uid), uid)


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that a symptom reads; `sampled_at` is when the counters were counted."""

    canary: _Side
    stable: _Side
    sampled_at: datetime | None


def _side(pods: Sequence[Object], readings: Sequence[Reading], revision: str, known: ArmCounters) -> _Side:
    counters = known if known.revision == revision else ArmCounters()
    old = {pod.pod: pod for pod in counters.pods}
    pairs = [
        _Pair(old[reading.pod], counters_of(reading, {}, ()), reading.at)
        for reading in readings
        if reading.revision == revision and reading.pod in old
    ]
    return _Side(
        pods=tuple(pod for pod in pods_of(pods, revision) if not is_gone(pod)),
        counters=counters,
        pairs=tuple(pair for pair in pairs if not is_restarted(pair.old, pair.new)),
    )


def _crashed(seen: _Seen) -> Cause | None:
    ends = ((pod, ended) for pod in seen.canary.pods if (ended := _end_after_service(pod, seen)))
    return next((cause_of_end(pod, ended, served=True) for pod, ended in ends), None)


def _end_after_service(pod: Object, seen: _Seen) -> Object | None:
    """Return how an engine ended that had served, also where it serves again since nobody looked."""
    ended = (last_end(pod) if was_ready(pod) else None) or _unseen_end(pod, seen)
    return ended if ended and ended.get("reason") not in _LOST_WITH_NODE else None


def _unseen_end(pod: Object, seen: _Seen) -> Object | None:
    ended: Object | None = engine_status(pod).get("lastState", {}).get("terminated")
    counted = any(known.pod == pod["metadata"]["uid"] for known in seen.canary.counters.pods)
    if not ended or not counted or not seen.sampled_at:
        return None
    return ended if datetime.fromisoformat(ended["finishedAt"]) > seen.sampled_at else None


def _not_what_was_pinned(seen: _Seen) -> Cause | None:
    """Take for true of all pods what one found of a pin; a hub that is down says nothing of it."""
    causes = (fetch_failure(pod) for pod in seen.canary.pods)
    return next((cause for cause in causes if cause and cause.reason in REFUTES), None)


def _never_loads(seen: _Seen) -> Cause | None:
    ends = ((pod, ended) for pod in seen.canary.pods if restarts(pod) >= _LOOP and (ended := last_end(pod)))
    return next((cause_of_end(pod, ended, served=False) for pod, ended in ends), None)


def _silent(seen: _Seen) -> Cause | None:
    silent = [pod["metadata"]["name"] for pod in seen.canary.pods if is_silent(pod)]
    if not silent or any(map(is_silent, seen.stable.pods)):
        return None
    return Cause(Reason.ENGINE_NOT_READY, f"{', '.join(silent)}: /health does not answer")


def _storm(seen: _Seen) -> Cause | None:
    errors, requests, stable = seen.canary.errors, seen.canary.requests, seen.stable
    if not seen.canary.new_errors or errors < max(_FEWEST_ERRORS, STORM * requests):
        return None
    if _stable_is_awaited(seen) or _log_chance(errors, requests, _usual_share(stable)) > _CHANCE:
        return None
    return Cause(
        Reason.ERROR_STORM,
        f"{errors} of the canary's last {requests} requests failed, and {stable.errors} of stable's"
        f" {stable.requests}",
    )


def _stable_is_awaited(seen: _Seen) -> bool:
    """Tell whether stable can still say that it is in the same storm: it is read less often."""
    if seen.stable.pairs or not seen.stable.counters.pods or not seen.sampled_at:
        return False
    return max(pair.at for pair in seen.canary.pairs) - seen.sampled_at < _STABLE_IS_ASKED


def _usual_share(stable: _Side) -> float:
    """Return stable's share of errors: over its pods' lives or at this moment, whichever is larger."""
    errors = sum(pod.errors for pod in stable.counters.pods)
    requests = sum(pod.requests for pod in stable.counters.pods)
    return max((1 + errors) / (_PRIOR + requests), stable.errors / (_LEEWAY + stable.requests))


def _log_chance(errors: int, requests: int, share: float) -> float:
    """Bound, as a logarithm, the chance of so many errors at this share (Chernoff)."""
    seen = min(1.0, errors / requests)
    if seen <= share:
        return 0.0
    calm = (1 - seen) * log((1 - share) / (1 - seen)) if seen < 1 else 0.0
    return requests * (seen * log(share / seen) + calm)


def _hangs(seen: _Seen) -> Cause | None:
    if any(pod.stuck_since for pod in seen.stable.counters.pods):
        return None
    return next(_hung(seen), None)


def _hung(seen: _Seen) -> Iterator[Cause]:
    for pair in seen.canary.pairs:
        since = pair.old.stuck_since or seen.sampled_at
        limit = _HANGS_WARMING if pair.old.warming else _HANGS
        if since and is_stuck(pair.old, pair.new) and pair.at - since >= limit:
            seconds = (pair.at - since).total_seconds()
            name = seen.canary.name_of(pair.new.pod)
            yield Cause(
                Reason.ENGINE_NOT_READY,
                f"{name}: the engine has had requests for {seconds:.0f}s and done nothing",
            )


_SYMPTOMS: Final[tuple[Callable[[_Seen], Cause | None], ...]] = (
    _crashed,
    _not_what_was_pinned,
    _never_loads,
    _silent,
    _storm,
    _hangs,
)
