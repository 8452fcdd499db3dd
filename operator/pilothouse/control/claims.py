"""What the ModelDeployments of a namespace have and want, put together anew only where something has changed.

At 2,000 ModelDeployments of one tenant each decision reads all of them.
"""

from collections.abc import Iterable, Mapping

from pilothouse.observe.peers import priority_of
from pilothouse.observe.store import Store
from pilothouse.plan.gpuqueue import Claim
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.observed import ObjectKey

_NOTHING = GpuNeed()


class Claims:
    """The claims of those in the Store, and what they were promised."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._needs: dict[ObjectKey, GpuNeed] = {}
        self._known: dict[str, dict[ObjectKey, Claim]] = {}
        self._stale: dict[str, set[ObjectKey]] = {}
        self._priorities: dict[str, int] = {}
        store.holdings.listen(self._mark)

    def of(self, namespace: str) -> Mapping[ObjectKey, Claim]:
        """Return the claims of a namespace."""
        self._see_priorities()
        if namespace not in self._known:
            self._known[namespace] = {}
            self._stale[namespace] = {
                *self._store.holdings.asks(namespace),
                *(each.owner for each in self._store.holdings.held(namespace).values()),
            }
        known = self._known[namespace]
        while self._stale[namespace]:
            self._renew(known, self._stale[namespace].pop())
        return known

    def need(self, key: ObjectKey) -> GpuNeed | None:
        """Return what one has taken and wants; None where that is not known yet."""
        return self._needs.get(key)

    def note(self, key: ObjectKey, need: GpuNeed | None) -> bool:
        """Note what one takes and wants, or that it is gone; tell whether that is news."""
        if self._needs.get(key) == need:
            return False
        if need is None:
            del self._needs[key]
        else:
            self._needs[key] = need
        self._mark(key)
        return True

    def clear(self) -> None:
        """Forget what was noted of all."""
        self._needs.clear()
        self._known.clear()

    def held(self, key: ObjectKey) -> Gpus:
        """Count the GPUs that one asks for already, or was promised."""
        asked = Gpus.counted((each.lane, each.asked) for each in self._store.holdings.of(key))
        return asked | self._needs.get(key, _NOTHING).reserved

    def _mark(self, key: ObjectKey) -> None:
        if key.namespace in self._known:
            self._stale[key.namespace].add(key)

    def _renew(self, known: dict[ObjectKey, Claim], key: ObjectKey) -> None:
        claim = self._claim(key)
        if claim:
            known[key] = claim
        else:
            known.pop(key, None)

    def _claim(self, key: ObjectKey) -> Claim | None:
        """Put together what one has; who has not been looked at yet wants what it declares."""
        ask, held = self._store.holdings.asks(key.namespace).get(key), self._store.holdings.of(key)
        name = f"{key.namespace}/{key.name}"
        there = Gpus.counted((each.lane, max(each.asked, each.active)) for each in held)
        if not ask:
            lane = held[0].lane if held else ""
            return Claim(name, lane, self._priority(lane), "", there, there, there) if held else None
        has = self.held(key)
        known = self._needs.get(key)
        need = known or GpuNeed(wanted=Gpus.counted([(ask.lane, ask.gpus)]), unit=max(1, ask.unit))
        return Claim(
            name=name,
            lane=_short_in(ask.lane, need.wanted, has),
            priority=self._priority(ask.lane),
            since=ask.since,
            held=has,
            wanted=need.wanted,
            booked=has | there,
            unit=need.unit,
            resumes=ask.rolls_out and not known,
        )

    def _see_priorities(self) -> None:
        """Begin anew when a lane has another priority than it had."""
        if any(priority_of(self._store, lane) != priority for lane, priority in self._priorities.items()):
            self._priorities.clear()
            self._known.clear()

    def _priority(self, lane: str) -> int:
        if lane not in self._priorities:
            self._priorities[lane] = priority_of(self._store, lane)
        return self._priorities[lane]


def all_of(claims: Claims, namespaces: Iterable[str]) -> dict[ObjectKey, Claim]:
    """Return the claims of several namespaces."""
    return {key: claim for namespace in namespaces for key, claim in claims.of(namespace).items()}


def _short_in(declared: str, wanted: Gpus, held: Gpus) -> str:
    """Say in which lane one waits: the declared one, unless only what serves in another wants more."""
    short = [lane for lane, gpus in wanted.lanes.items() if gpus > held.within(lane)]
    return declared if declared in short or not short else short[0]
