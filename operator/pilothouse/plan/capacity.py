"""How many pods each side of a rollout gets, and how much traffic they can carry.

Load per replica is kept alike on both sides, since latency under unlike load proves nothing. `Surge` adds
the canary's pods and leaves stable whole, so that the undo needs no model load. `InPlace` swaps pods one at a
time and never asks for more than `replicas` of them. docs/decisions/0008 says why.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilothouse.api.modeldeployment import Capacity
from pilothouse.names import Reason
from pilothouse.plan.cause import Cause

NO_ROOM: Final = frozenset(
    {
        Reason.INSUFFICIENT_GPU,
        Reason.UNSCHEDULABLE,
        Reason.QUOTA_EXCEEDED,
        Reason.WAITING_FOR_QUOTA,
        Reason.QUOTA_CONFLICT,
        Reason.QUOTA_MISSING,
        Reason.QUOTA_UNREADABLE,
    }
)
"""Why pods stay away where the cluster has no place for them; the scheduler's or the quota's own verdict."""

COMPARABLE_WEIGHT: Final = 50
"""A step of this weight makes loads comparable, whatever the replicas and the strategy."""

_LEAST_IN_PLACE: Final = 2
_FULL: Final = 100


class Strategy(StrEnum):
    """Where the canary's GPUs come from, once decided; the words of the API's `Capacity`."""

    SURGE = "Surge"
    IN_PLACE = "InPlace"


@dataclass(frozen=True, slots=True)
class Size:
    """Pods of both sides."""

    canary: int
    stable: int


def strategy_of(declared: Capacity, remembered: str, replicas: int, lack: Cause | None) -> Strategy:
    """Decide where the canary's GPUs come from.

    `remembered` is what `status.rollout.capacity` says; `lack` is what keeps the canary's pods from being
    ready. `Auto` begins with Surge and goes over to InPlace, once and for the whole rollout, when there is no
    room. One replica can't give its GPUs away and serve, so it always surges.
    """
    if replicas < _LEAST_IN_PLACE or declared is Capacity.SURGE:
        return Strategy.SURGE
    if declared is Capacity.IN_PLACE or remembered == Strategy.IN_PLACE:
        return Strategy.IN_PLACE
    return Strategy.IN_PLACE if lack and lack.reason in NO_ROOM else Strategy.SURGE


def refusal_in_place(declared: Capacity, replicas: int) -> Cause | None:
    """Say why a rollout can't begin in place: with one replica it would be an outage nobody asked for."""
    if declared is not Capacity.IN_PLACE or replicas != 1:
        return None
    message = (
        f"spec.rollout.capacity InPlace needs at least {_LEAST_IN_PLACE} replicas: the only pod's GPUs "
        "can't change hands while it serves; Surge needs GPUs for one more pod"
    )
    return Cause(Reason.INSUFFICIENT_GPU, message)


@dataclass(frozen=True, slots=True)
class Sizing:
    """The sizes of a rollout of `replicas` pods by a strategy.

    Weights are the canary's share of the traffic in percent, 0 to 100. 100 stands for the bake: the canary
    carries everything and stable stays able to take it back.
    """

    strategy: Strategy
    replicas: int

    def target(self, step_weight: int) -> Size:
        """Sizes that the step asks for; at weight 0 one canary pod, to be tested before it serves."""
        if self.strategy is Strategy.SURGE:
            return Size(self._beside(step_weight), self.replicas)
        canary = self._instead(step_weight)
        return Size(canary, self.replicas - canary)

    def next_size(self, step_weight: int, weight: int, live: Size, ready: Size) -> Size:
        """Sizes to ask for now, on the way to the step.

        `weight` is the share that the route asks for already, `live` what the Deployments ask for, `ready`
        the pods that are ready. In place, the way is open only while the weight follows: each swap needs the
        traffic of the last one moved, up to `min(attainable(step_weight), weight_cap(ready))`.
        """
        target = self.target(max(step_weight, weight))
        if self.strategy is Strategy.SURGE:
            return target
        needed = self._stable_needs(weight)
        canary = min(self._grown(live, ready), target.canary, self.replicas - needed)
        return Size(canary, max(target.stable, needed, min(live.stable, self.replicas - canary)))

    def weight_cap(self, ready: Size) -> int:
        """Return the highest weight that the canary's ready pods can carry."""
        if not ready.canary:
            return 0
        if not ready.stable or ready.canary >= self.target(_FULL).canary:
            return _FULL
        return _FULL * ready.canary // (ready.canary + ready.stable)

    def attainable(self, step_weight: int) -> int:
        """Return the weight at which a step is held: lower than its own where pods can't be halved."""
        return min(step_weight, self.weight_cap(self.target(step_weight)))

    def reached(self, step_weight: int, ready: Size) -> bool:
        """Say whether the canary has the pods of the step; stable's state holds no fix of stable up."""
        return ready.canary >= self.target(step_weight).canary

    def comparable_somewhere(self, step_weights: Iterable[int]) -> bool:
        """Say whether latencies can be judged at one of these steps at least."""
        return any(comparable(self.attainable(weight), self.target(weight)) for weight in step_weights)

    def _beside(self, weight: int) -> int:
        """Pods for `weight` beside a whole stable: enough for the load per replica to be alike."""
        most = self.replicas
        if weight >= _FULL:
            return most
        return min(most, max(1, -(-most * weight // (_FULL - weight))))

    def _instead(self, weight: int) -> int:
        """Pods for `weight` out of `replicas`, at least one on each side; half a pod goes to stable."""
        rounded = (weight * self.replicas + _FULL // 2 - 1) // _FULL
        return min(self.replicas - 1, max(1, rounded))

    def _stable_needs(self, weight: int) -> int:
        """Return the least pods for stable's share: at most one short of it, as a node drain may take.

        Weights are whole percents, so up to one percent of the pods goes without its traffic.
        """
        return max(0, (_FULL - 1 - weight) * self.replicas // _FULL)

    def _grown(self, live: Size, ready: Size) -> int:
        """Canary pods after the next swap: one more than are ready, and none while one is awaited."""
        if live.canary + live.stable > self.replicas:
            return min(live.canary, ready.canary + 1)
        return live.canary + (ready.canary >= live.canary)


def comparable(weight: int, ready: Size) -> bool:
    """Say whether the load per replica is alike on both sides, within a factor of 1.5."""
    canary, stable = weight * ready.stable, (_FULL - weight) * ready.canary
    return 0 < 2 * max(canary, stable) <= 3 * min(canary, stable)
