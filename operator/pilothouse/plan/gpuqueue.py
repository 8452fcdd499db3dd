"""In which order the ModelDeployments of one TenantQuota get its GPUs.

The lane of higher priority goes first, then the older one. Nobody loses what it has, and nobody overtakes:
who waits for the GPUs of a whole pod keeps what comes free until it suffices. Only what the limits themselves
forbid is passed over, and a full lane holds up nobody outside it. Before all go those that were promised more
than shows, by one that no longer holds the Lease.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from pilothouse.plan.gpus import Gpus, Limits


@dataclass(frozen=True)
class Claim:
    """What one ModelDeployment has and wants; what follows from that is found out once, for many decisions.

    `lane` is where it wants more. `held` is what it can't lose: its Deployments ask for it, or it was
    promised. `booked` adds the GPUs of pods which are to go and are not gone, so nobody can have them yet.
    `unit` is the least that helps it: the GPUs of a pod, or those of a whole canary. `since` orders by age,
    as RFC 3339 texts do. `resumes` says that it was in the middle of a rollout when this process began to
    count.
    """

    name: str
    lane: str
    priority: int
    since: str
    held: Gpus
    wanted: Gpus
    booked: Gpus
    unit: int = 1
    resumes: bool = False

    @cached_property
    def lack(self) -> int:
        """How many it wants and does not hold, or does not hold in its lane."""
        return self.wanted.beyond(self.held)

    @cached_property
    def brought(self) -> int:
        """How many of those it lacks it holds in another lane, and gives up there."""
        return self.lack - max(0, self.wanted.total - self.held.total)

    @cached_property
    def rank(self) -> tuple[bool, int, str, str]:
        """What orders those that want more."""
        return (not self.resumes, -self.priority, self.since, self.name)


class Turn(NamedTuple):
    """What one that wants more gets now; `position` counts those that go on waiting, 0 where it does not.

    `ahead` names the one that waits before it.
    """

    claim: Claim
    granted: int
    position: int = 0
    ahead: str = ""


class Vacancy(NamedTuple):
    """What is left for one, of what those before it do not take, and its place if it waits for more."""

    most: Limits
    position: int
    ahead: str


def turns(limits: Limits, claims: Iterable[Claim]) -> Iterator[Turn]:
    """Deal out what is free to those that want more, in their order."""
    claims = list(claims)
    return _deal(_Free(limits, claims), claims)


def vacancy(me: Claim, limits: Limits, others: Iterable[Claim]) -> Vacancy:
    """Say what one could have now, together with what it holds."""
    others = list(others)
    free = _Free(limits, [me, *others])
    dealt = _deal(free, (other for other in others if other.rank < me.rank))
    waiting = ["", *(turn.claim.name for turn in dealt if turn.position)]
    return Vacancy(free.beside(me.held), len(waiting), waiting[-1])


def _deal(free: "_Free", claims: Iterable[Claim]) -> Iterator[Turn]:
    position, ahead = 0, ""
    for claim in sorted((claim for claim in claims if claim.lack), key=attrgetter("rank")):
        granted = free.take(claim)
        if granted >= claim.lack:
            yield Turn(claim, granted)
            continue
        position += 1
        yield Turn(claim, granted, position, ahead)
        ahead = claim.name


class _Free:
    """What is left while it is dealt out."""

    def __init__(self, limits: Limits, claims: list[Claim]) -> None:
        self._limits = limits
        self._total = limits.total - limits.elsewhere - sum(claim.booked.total for claim in claims)
        self._lanes = dict(limits.lanes)
        for claim in claims:
            for lane, gpus in claim.booked.lanes.items():
                self._spend(lane, gpus)

    def take(self, claim: Claim) -> int:
        """Take what a claim can use; what is too little for it is kept from those behind it."""
        lack, brought = claim.lack, claim.brought
        unit = max(1, min(claim.unit, lack))
        within = self._lanes.get(claim.lane, lack)
        granted = max(0, min(lack, brought + max(0, self._total), within)) // unit * unit
        self._total -= max(0, granted - brought)
        self._spend(claim.lane, granted)
        if granted < lack and self._can_come(claim, granted + unit):
            self._keep_for(claim.lane, unit)
        return granted

    def beside(self, held: Gpus) -> Limits:
        """Add what is left to what one holds."""
        lanes = {lane: held.within(lane) + max(0, left) for lane, left in self._lanes.items()}
        return Limits(held.total + max(0, self._total), lanes)

    def _can_come(self, claim: Claim, more: int) -> bool:
        """Say whether the limits themselves allow a claim so many more."""
        together = claim.held.total + more - claim.brought
        within = claim.held.within(claim.lane) + more
        return together <= self._limits.total and within <= self._limits.of(claim.lane)

    def _spend(self, lane: str, gpus: int) -> None:
        if lane in self._lanes:
            self._lanes[lane] -= gpus

    def _keep_for(self, lane: str, unit: int) -> None:
        """Let nobody behind have what comes free: in the lane where that is full, else anywhere."""
        if lane in self._lanes and self._lanes[lane] < unit:
            self._lanes[lane] = 0
        else:
            self._total = 0
