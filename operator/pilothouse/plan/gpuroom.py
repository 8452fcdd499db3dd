"""What a TenantQuota means to one ModelDeployment: how many pods it may ask for, and what it wants instead.

A ModelDeployment keeps what it has as long as it wants it, so no pod that serves is taken and a rollback
finds its GPUs. A rollout takes all that its way needs when it begins: two that grow step by step could wait
for each other for ever.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pilothouse.names import ENGINE_CONTAINER, QUEUE_CLASS, Reason
from pilothouse.plan.capacity import Strategy, strategy_of
from pilothouse.plan.cause import Cause
from pilothouse.plan.gpus import Gpus
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.room import Room
from pilothouse.plan.serving import asked_replicas


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """GPUs of one ModelDeployment: those it takes now, all it wants, and the least more that helps it."""

    reserved: Gpus = field(default_factory=Gpus)
    wanted: Gpus = field(default_factory=Gpus)
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """How a rollout can go within the room: where its GPUs come from, of how many pods it is, and its need.

    `lack` says what it waits for.
    """

    strategy: Strategy
    replicas: int
    gpus: Gpus
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


def lane_of(template: Object) -> str:
    """Read the lane of a pod."""
    return str(((template.get("metadata") or {}).get("labels") or {}).get(QUEUE_CLASS, ""))


def course(
    observed: Observed, stable: Revision, canary: Revision, remembered: str = "", lack: Cause | None = None
) -> Course:
    """Decide where the canary's GPUs come from; `lack` is what keeps its pods from being ready."""
    room, spec = observed.room, observed.deployment.spec
    replicas = _affordable(room, spec.replicas, stable)
    old, new = _side(stable, replicas), _side(canary, replicas)
    surge, swap = Gpus.counted([old, new]), Gpus.counted([old]) | Gpus.counted([new])
    strategy = strategy_of(spec.rollout.capacity, remembered, replicas, lack_of(room, surge) or lack)
    gpus = surge if strategy is Strategy.SURGE else swap
    return Course(strategy, replicas, gpus, lack_of(room, gpus))


def _side(revision: Revision, replicas: int) -> tuple[str, int]:
    """Return the lane of a revision, and the GPUs of so many of its pods."""
    return lane_of(revision.pod_template), replicas * gpus_of(revision.pod_template)


def _affordable(room: Room, replicas: int, stable: Revision) -> int:
    """Return how many pods of stable the quota lets run, but at least one: a rollout is about these."""
    lane, gpus = _side(stable, 1)
    if room.most is None or not gpus:
        return replicas
    return min(replicas, max(1, room.most.of(lane) // gpus))


def lack_of(room: Room, gpus: Gpus) -> Cause | None:
    """Say why there can't be so many GPUs now, or None where there can."""
    if room.most is None:
        return None
    for lane, most in room.most.lanes.items():
        if gpus.within(lane) > most:
            has = f"{room.held.within(lane)} of {gpus.within(lane)} GPUs in lane {lane}"
            return _shortage(room, has, gpus.within(lane), room.limit.of(lane))
    if gpus.total > room.most.total:
        return _shortage(room, f"{room.held.total} of {gpus.total} GPUs", gpus.total, room.limit.total)
    return None


def _shortage(room: Room, has: str, wanted: int, limit: int) -> Cause:
    if room.closed:
        return room.closed
    said = f"TenantQuota {room.tenant}: {has} are reserved"
    if wanted > limit:
        return Cause(Reason.QUOTA_EXCEEDED, f"{said}; its limit is {limit}")
    behind = f" behind {room.ahead}" if room.ahead else ""
    return Cause(Reason.WAITING_FOR_QUOTA, f"{said}; position {room.position} in the queue{behind}")


def allot(observed: Observed, wanted: Iterable[tuple[Revision, int]]) -> dict[str, int]:
    """Return how many pods each revision gets, of so many that it is to have.

    More only as far as the room goes. What another one gives up counts when it has given it up.
    """
    pods = dict[str, int]()
    left = observed.room.most.less(asked_gpus(observed)) if observed.room.most else None
    for revision, count in wanted:
        have, (lane, each) = asked_replicas(observed, revision.name), _side(revision, 1)
        more = max(0, count - have)
        if left and each:
            more = min(more, max(0, left.of(lane)) // each)
            left = left.less(Gpus.counted([(lane, more * each)]))
        pods[revision.name] = min(have, count) + more
    return pods


def asked_gpus(observed: Observed) -> Gpus:
    """Count the GPUs that the live Deployments ask for."""
    return Gpus.counted(_asked(observed))


def _asked(observed: Observed) -> Iterator[tuple[str, int]]:
    for live in observed.children_of_kind("Deployment"):
        template = live["spec"]["template"]
        yield lane_of(template), int(live["spec"].get("replicas", 1)) * gpus_of(template)


def need_of(
    observed: Observed, wanted: Iterable[tuple[Revision, int]], pods: dict[str, int], rollout: Gpus
) -> GpuNeed:
    """Return what the ModelDeployment takes; `rollout` is what one that runs, or waits for it, needs.

    It takes what it will ask for at the most on the way there: what grows may be sent before what shrinks.
    """
    wanted = list(wanted)
    all_wanted = rollout | Gpus.counted(_side(revision, count) for revision, count in wanted)
    grown = (_side(side, pods[side.name] - asked_replicas(observed, side.name)) for side, _ in wanted)
    at_most = Gpus.counted([*_asked(observed), *((lane, more) for lane, more in grown if more > 0)])
    lacks = lack_of(observed.room, all_wanted)
    reserved = at_most | (_kept(all_wanted, observed.room.held) if lacks else all_wanted)
    by_pods = max((gpus_of(revision.pod_template) for revision, _ in wanted), default=1)
    return GpuNeed(reserved, all_wanted, unit=rollout.beyond(reserved) or max(1, by_pods))


def _kept(wanted: Gpus, held: Gpus) -> Gpus:
    """Return what is kept of a promise until there is room for more: nothing that no lane has a use for."""
    lanes = {lane: min(gpus, held.within(lane)) for lane, gpus in wanted.lanes.items()}
    return Gpus(min(wanted.total, held.total, sum(lanes.values())), lanes)
