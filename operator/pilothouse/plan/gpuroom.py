"""What a TenantQuota means to one ModelDeployment: how many pods it may ask for, and what it wants instead.

A ModelDeployment keeps what it has as long as it wants it, so no pod that serves is taken and a rollback
finds its GPUs. A rollout takes all that its way needs when it begins: two that grow step by step could wait
for each other for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pilothouse.names import ENGINE_CONTAINER, QUEUE_CLASS, Reason
from pilothouse.plan.capacity import Strategy, strategy_of
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.room import Room
from pilothouse.plan.serving import asked_replicas


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """GPUs of one ModelDeployment: those it takes now, all it wants, and the least more that helps it."""

    reserved: int = 0
    wanted: int = 0
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """How a rollout can go within the room: where its GPUs come from, of how many pods it is, and its need.

    `lack` says what it waits for.
    """

    strategy: Strategy
    replicas: int
    gpus: int
    lack: Cause | None


def gpus_of(template: Object) -> int:
    """Count the GPUs of a pod, whatever they are called."""
    return sum(gpus_by_resource(template).values())


def gpus_by_resource(template: Object) -> dict[str, int]:
    """Count the GPUs of a pod by name: the extended resources that its engine is limited to."""
    return {
        name: int(amount)
        for container in (template.get("spec") or {}).get("containers", ())
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items()
        if container["name"] == ENGINE_CONTAINER and "/" in name
    }


def course(
    observed: Observed, stable: Revision, canary: Revision, remembered: str = "", lack: Cause | None = None
) -> Course:
    """Decide where the canary's GPUs come from; `lack` is what keeps its pods from being ready."""
    room, spec = observed.room, observed.deployment.spec
    old, new = gpus_of(stable.pod_template), gpus_of(canary.pod_template)
    replicas = _affordable(room, spec.replicas, old)
    surge, swap = replicas * (old + new), replicas * max(old, new)
    strategy = strategy_of(spec.rollout.capacity, remembered, replicas, lack_of(room, surge) or lack)
    gpus = surge if strategy is Strategy.SURGE else swap
    return Course(strategy, replicas, gpus, _no_way_into(room, stable, canary) or lack_of(room, gpus))


def _no_way_into(room: Room, stable: Revision, canary: Revision) -> Cause | None:
    """Say why a rollout can't bring its GPUs into another lane: that one has no room for them."""
    lane = _lane_of(canary)
    if not room.excess or lane == _lane_of(stable):
        return None
    said = f"TenantQuota {room.tenant}: with these pods lane {lane} would have {room.excess} GPUs too many"
    return Cause(Reason.QUOTA_EXCEEDED, said)


def _lane_of(revision: Revision) -> str:
    return str(revision.pod_template["metadata"]["labels"].get(QUEUE_CLASS, ""))


def _affordable(room: Room, replicas: int, gpus: int) -> int:
    """Return how many pods of stable the quota lets run, but at least one: a rollout is about these."""
    if room.most is None or not gpus:
        return replicas
    return min(replicas, max(1, room.most // gpus))


def lack_of(room: Room, gpus: int) -> Cause | None:
    """Say why there can't be so many GPUs now, or None where there can."""
    if room.most is None or gpus <= room.most:
        return None
    return room.closed or _shortage(room, gpus)


def _shortage(room: Room, gpus: int) -> Cause:
    has = f"TenantQuota {room.tenant}: {room.held} of {gpus} GPUs are reserved"
    if gpus > room.limit:
        return Cause(Reason.QUOTA_EXCEEDED, f"{has}; its limit is {room.limit}")
    behind = f" behind {room.ahead}" if room.ahead else ""
    return Cause(Reason.WAITING_FOR_QUOTA, f"{has}; position {room.position} in the queue{behind}")


def allot(observed: Observed, wanted: Iterable[tuple[Revision, int]]) -> dict[str, int]:
    """Return how many pods each revision gets, of so many that it is to have.

    More only as far as the room goes. What another one gives up counts when it has given it up.
    """
    room, pods = observed.room, dict[str, int]()
    budget = None if room.most is None else max(0, room.most - asked_gpus(observed))
    for revision, count in wanted:
        have, each = asked_replicas(observed, revision.name), gpus_of(revision.pod_template)
        more = max(0, count - have)
        if budget is not None and each:
            more = min(more, budget // each)
            budget -= more * each
        pods[revision.name] = min(have, count) + more
    return pods


def asked_gpus(observed: Observed) -> int:
    """Count the GPUs that the live Deployments ask for."""
    return sum(
        int(live["spec"].get("replicas", 1)) * gpus_of(live["spec"]["template"])
        for live in observed.children_of_kind("Deployment")
    )


def need_of(
    observed: Observed, wanted: Iterable[tuple[Revision, int]], pods: dict[str, int], rollout: int
) -> GpuNeed:
    """Return what the ModelDeployment takes; `rollout` is what one that runs, or waits for it, needs.

    It takes what it will ask for at the most on the way there: what grows may be sent before what shrinks.
    """
    sides = [(revision, gpus_of(revision.pod_template), count) for revision, count in wanted]
    all_wanted = max(rollout, sum(each * count for _, each, count in sides))
    added = (each * (pods[side.name] - asked_replicas(observed, side.name)) for side, each, _ in sides)
    at_most = asked_gpus(observed) + sum(more for more in added if more > 0)
    kept = min(all_wanted, observed.room.held) if lack_of(observed.room, all_wanted) else all_wanted
    reserved = max(at_most, kept)
    by_pods = max((each for _, each, _ in sides), default=1)
    return GpuNeed(reserved, all_wanted, unit=rollout - reserved if rollout > reserved else max(1, by_pods))
