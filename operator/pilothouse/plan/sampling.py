"""Turns cumulative counters into samples: what each pod did since it was last read, counted exactly once.

All that is remembered is a SamplingStatus. A pod's first requests are left out, again after each restart of
its engine, and so is what it did before it was first read. A pod that could not be read catches up later.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pilothouse.api.samplingstatus import ArmCounters, PodCounters, SamplingStatus
from pilothouse.plan.observed import Object
from pilothouse.plan.podcounters import advanced, counters_of, is_restarted, tells, work_between
from pilothouse.plan.readings import Reading
from pilothouse.plan.samples import Arm, Counts, PodSample, Sample

STORM: Final = 0.2
"""The share of failed requests from which a sample counts as stormy."""
MOST_PODS: Final = 10
"""Pods remembered on each side, drawn by their random uids: more take too much of a status, and so many show
well enough how pods of one side differ."""
_FORGOTTEN_AFTER: Final = timedelta(minutes=10)
"""After how long without a reading a pod counts as gone."""


def is_due(sampling: SamplingStatus | None, interval: timedelta, now: datetime) -> bool:
    """Say whether it is time to count; a clock that went back does not stop it."""
    return sampling is None or not timedelta() <= now - sampling.sampled_at < interval


def serving(readings: Sequence[Reading], pods: Sequence[Object]) -> tuple[Reading, ...]:
    """Leave out pods that are being deleted: what they cut off is our own doing."""
    ending = {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" in pod["metadata"]}
    return tuple(reading for reading in readings if reading.pod not in ending)


def take(  # noqa: PLR0913 -- each is a fact of its own, named at the call
    sampling: SamplingStatus | None,
    readings: Sequence[Reading],
    *,
    canary: str,
    stable: str,
    counts: Callable[[Reading], Mapping[str, Counts]],
    warmup: int,
    ready: Mapping[str, int],
    now: datetime,
    definition: str = "",
) -> tuple[SamplingStatus, Sample | None]:
    """Count what each pod did since the last call; no sample the first time, with nothing to compare with.

    `ready` counts ready pods by revision. `definition` says what the checks mean; when it changes, their
    counts begin anew. The order of `readings` does not matter, and what was read before the last call is
    passed over.
    """
    before = _known(sampling, definition, now)
    fresh = [entry for entry in readings if tells(entry) and not (sampling and entry.at <= before.sampled_at)]
    counted = [(entry, counts(entry)) for entry in fresh]
    names = _names(before.checks, (found for _, found in counted))
    window = _Window(before.sampled_at, now, names, warmup)
    read = {(entry.revision, entry.pod): counters_of(entry, found, names) for entry, found in counted}
    stable_side = _side(before.stable, Arm.STABLE, stable, read, window)
    canary_side = _side(before.canary, Arm.CANARY, canary, read, window)
    after = SamplingStatus(
        sampled_at=now,
        definition=definition,
        checks=names,
        canary=_alone_in_its_storm(canary_side.counters, stable_side.counters),
        stable=stable_side.counters,
    )
    if sampling is None:
        return after, None
    seconds = max(0.0, (now - before.sampled_at).total_seconds())
    pods = (*canary_side.work, *stable_side.work)
    return after, Sample(now, seconds, pods, ready.get(canary, 0), ready.get(stable, 0))


@dataclass(frozen=True, slots=True)
class _Window:
    """What holds for both sides: the time, the checks in order, how many first requests are left out."""

    since: datetime
    now: datetime
    names: tuple[str, ...]
    warmup: int


@dataclass(frozen=True, slots=True)
class _Side:
    """What is remembered of a side, and what its pods did."""

    counters: ArmCounters
    work: tuple[PodSample, ...]


def _known(sampling: SamplingStatus | None, definition: str, now: datetime) -> SamplingStatus:
    if sampling is None:
        return SamplingStatus(sampled_at=now)
    if sampling.definition == definition:
        return sampling
    sides = {"canary": _uncounted(sampling.canary), "stable": _uncounted(sampling.stable)}
    return sampling.model_copy(update={"checks": (), **sides})


def _uncounted(arm: ArmCounters) -> ArmCounters:
    return arm.model_copy(update={"pods": tuple(pod.model_copy(update={"counts": ()}) for pod in arm.pods)})


def _names(known: Iterable[str], counted: Iterable[Mapping[str, Counts]]) -> tuple[str, ...]:
    found = {name for counts in counted for name in counts}
    return tuple(dict.fromkeys((*known, *sorted(found))))


def _side(
    known: ArmCounters,
    arm: Arm,
    revision: str,
    read: Mapping[tuple[str, str], PodCounters],
    window: _Window,
) -> _Side:
    """Count one side; what was remembered of another revision is no use, so its pods start anew."""
    old = {pod.pod: pod for pod in known.pods} if known.revision == revision else {}
    new = {uid: counters for (owner, uid), counters in read.items() if owner == revision}
    pairs = [(old[uid], counters) for uid, counters in sorted(new.items()) if uid in old]
    alike = [(before, after) for before, after in pairs if not is_restarted(before, after)]
    pods = _remembered(old, new, window)
    storm = _storm(known if old else ArmCounters(), alike)
    return _Side(
        ArmCounters(
            revision=revision,
            warming=sum(bool(pod.warming) for pod in pods),
            storm_errors=storm[0],
            storm_requests=storm[1],
            pods=pods,
        ),
        tuple(work_between(*pair, arm, window.names) for pair in alike if not pair[0].warming),
    )


def _remembered(
    old: Mapping[str, PodCounters], new: Mapping[str, PodCounters], window: _Window
) -> tuple[PodCounters, ...]:
    """Keep, while there is room, known pods before new ones, and those before pods that may be read again."""
    order = sorted(new, key=lambda uid: (uid not in old, uid))
    read = [advanced(old.get(uid), new[uid], window.warmup, window.since) for uid in order]
    return tuple(sorted([*read, *_unread(old, new, window)][:MOST_PODS], key=lambda pod: pod.pod))


def _unread(
    old: Mapping[str, PodCounters], new: Mapping[str, PodCounters], window: _Window
) -> Iterator[PodCounters]:
    for uid, pod in sorted(old.items()):
        since = pod.unread_since or window.now
        if uid not in new and window.now - since < _FORGOTTEN_AFTER:
            yield pod.model_copy(update={"unread_since": since})


def _storm(known: ArmCounters, pairs: Iterable[tuple[PodCounters, PodCounters]]) -> tuple[int, int]:
    """Add up errors and requests of the stormy samples in a row; a calm one ends the row."""
    errors = requests = 0
    for before, after in pairs:
        errors += max(0, after.errors - before.errors)
        requests += max(0, after.requests - before.requests)
    if errors < STORM * requests:
        return 0, 0
    return known.storm_errors + errors, known.storm_requests + requests


def _alone_in_its_storm(canary: ArmCounters, stable: ArmCounters) -> ArmCounters:
    """Forget a storm that stable is in as well: it says nothing of the canary, now or later."""
    return (
        canary.model_copy(update={"storm_errors": 0, "storm_requests": 0}) if stable.storm_errors else canary
    )
