"""In which order the ModelDeployments of one TenantQuota get its GPUs.

The lane of higher priority goes first, then the older one. Nobody loses what it has, and nobody overtakes:
who waits for the GPUs of a whole pod keeps what comes free until it suffices. Only what the limits themselves
forbid is passed over, and a full lane holds up nobody outside it. Before all go those that were promised more
than shows, by one that no longer holds the Lease.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ENDLESS: Final = 1_000_000
"""More GPUs than any limit allows: what one asks for who only wants to know how many it could have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most GPUs, together and by lane. `elsewhere` are those of pods that no claim stands for."""

    total: int
    lanes: Mapping[str, int] = field(default_factory=dict)
    elsewhere: int = 0

    def of(self, lane: str) -> int:
        """Return the most that one lane may have."""
        return min(self.total, self.lanes.get(lane, self.total))


class Claim(NamedTuple):
    """What one ModelDeployment has and wants, in GPUs.

    `held` is what it can't lose: its Deployments ask for it, or it was promised. `leaving` are those beyond
    that of pods which are to go and are not gone, so nobody can have them yet. `unit` is the least that
    helps it: the GPUs of a pod, or those of a whole canary. `since` orders by age, as RFC 3339 texts do.
    `resumes` says that it was in the middle of a rollout when this process began to count.
    """

    name: str
    lane: str
    priority: int
    since: str
    held: int
    wanted: int
    unit: int = 1
    resumes: bool = False
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one that wants more gets now; `position` counts those that go on waiting, 0 where it does not.

    `ahead` names the one that waits before it.
    """

    claim: Claim
    granted: int
    position: int = 0
    ahead: str = ""


def turns(limits: Limits, claims: Iterable[Claim]) -> Iterator[Turn]:
    """Deal out what is free to those that want more, in their order."""
    claims = list(claims)
    free = _Free(limits, claims)
    position, ahead = 0, ""
    for claim in sorted((claim for claim in claims if claim.wanted > claim.held), key=_rank):
        granted = free.take(claim)
        if claim.held + granted >= claim.wanted:
            yield Turn(claim, granted)
            continue
        position += 1
        yield Turn(claim, granted, position, ahead)
        ahead = claim.name


def turn_of(me: Claim, limits: Limits, others: Iterable[Claim]) -> Turn:
    """Say what one could get now if it asked for everything."""
    greedy = me._replace(wanted=ENDLESS, unit=1)
    return next(turn for turn in turns(limits, [greedy, *others]) if turn.claim is greedy)


def _rank(claim: Claim) -> tuple[bool, int, str, str]:
    return (not claim.resumes, -claim.priority, claim.since, claim.name)


class _Free:
    """What is left while it is dealt out."""

    def __init__(self, limits: Limits, claims: list[Claim]) -> None:
        self._limits = limits
        self._total = limits.total - limits.elsewhere - sum(claim.held + claim.leaving for claim in claims)
        self._lanes = dict(limits.lanes)
        for claim in claims:
            self._spend(claim.lane, claim.held + claim.leaving)

    def take(self, claim: Claim) -> int:
        """Take what a claim can use; what is too little for it is kept from those behind it."""
        lack = claim.wanted - claim.held
        unit = max(1, min(claim.unit, lack))
        granted = max(0, min(lack, self._total, self._in(claim.lane))) // unit * unit
        self._total -= granted
        self._spend(claim.lane, granted)
        if granted < lack and claim.held + granted + unit <= self._limits.of(claim.lane):
            self._keep_for(claim.lane, unit)
        return granted

    def _in(self, lane: str) -> int:
        return self._lanes.get(lane, self._total)

    def _spend(self, lane: str, gpus: int) -> None:
        if lane in self._lanes:
            self._lanes[lane] -= gpus

    def _keep_for(self, lane: str, unit: int) -> None:
        """Let nobody behind have what comes free: in the lane where that is full, else anywhere."""
        if lane in self._lanes and self._lanes[lane] < unit:
            self._lanes[lane] = 0
        else:
            self._total = 0
