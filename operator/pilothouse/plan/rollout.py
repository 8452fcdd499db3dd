"""Which revision serves, which one is wanted, and when the one takes over from the other.

For now a wanted revision starts beside the stable one at full size and takes all traffic at once when all of
its pods are ready; the former one keeps its pods while it may still get requests. Until then the stable
revision serves, whatever becomes of the wanted one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pilothouse import names
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.programmed import is_followed, live_route
from pilothouse.plan.revision import Revision


@dataclass(frozen=True, slots=True)
class Rollout:
    """Revisions by their part.

    `target` is what the spec asks for, None where it can't be carried out; `former` are those that gave way
    and may still get requests.
    """

    stable: Revision | None
    target: Revision | None
    former: tuple[Revision, ...] = ()

    @property
    def running(self) -> list[Revision]:
        """Revisions that have pods: stable first."""
        parts = (self.stable, self.target, *self.former)
        return list({part.name: part for part in parts if part}.values())

    @property
    def weights(self) -> dict[str, int]:
        """Share of the traffic, in percent, by revision."""
        return {self.stable.name: 100} if self.stable else {}

    @property
    def under_way(self) -> bool:
        """Whether a wanted revision waits to take over."""
        return bool(self.stable and self.target and self.stable.name != self.target.name)


def rollout_of(observed: Observed, revisions: Mapping[str, Revision], target: Revision | None) -> Rollout:
    """Decide which revision serves now."""
    serving = _serving(observed, revisions)
    stable = target if target and _takes_over(observed, target, serving) else serving
    former = tuple(
        revisions[name]
        for name in dict.fromkeys(_addressed(observed))
        if name in revisions and not (stable and name == stable.name)
    )
    return Rollout(stable, target, former)


def is_ready(observed: Observed, revision: str) -> bool:
    """Say whether every pod that the revision should have is up to date and ready."""
    deployment = deployment_of(observed, revision)
    if not deployment or _is_outdated(deployment):
        return False
    status, wanted = deployment.get("status", {}), observed.deployment.spec.replicas
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas")}
    return deployment["spec"]["replicas"] == wanted and counts == {wanted}


def ready_replicas(observed: Observed, revision: str) -> int:
    """Count the revision's pods that are ready."""
    deployment = deployment_of(observed, revision) or {}
    return int(deployment.get("status", {}).get("readyReplicas", 0))


def deployment_of(observed: Observed, revision: str) -> Object | None:
    """Return the live Deployment of a revision, if there is one."""
    return observed.child("Deployment", names.child_name(observed.deployment.metadata.name, revision))


def _is_outdated(deployment: Object) -> bool:
    observed = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(observed < deployment["metadata"].get("generation", 0))


def _takes_over(observed: Observed, target: Revision, serving: Revision | None) -> bool:
    """Say whether all traffic goes to the target: where it can serve it, or where nothing else ever could."""
    return not serving or is_ready(observed, target.name) or not _has_served(observed, serving.name)


def _has_served(observed: Observed, revision: str) -> bool:
    history = {entry.revision for entry in observed.deployment.status.history}
    return revision in history or ready_replicas(observed, revision) > 0


def _serving(observed: Observed, revisions: Mapping[str, Revision]) -> Revision | None:
    """Return what serves: by the status, else (it was lost) by the stable Service, else the oldest record."""
    status = observed.deployment.status
    candidates = [
        status.stable.revision if status.stable else None,
        *_selected(observed),
        min(revisions, key=lambda name: revisions[name].number, default=None),
    ]
    return next((revisions[name] for name in candidates if name and name in revisions), None)


def _addressed(observed: Observed) -> Iterator[str]:
    """Name the revisions that may get requests, by what is live rather than by what is meant."""
    yield from _selected(observed)
    route = live_route(observed)
    if not route:
        return
    for rule in route["spec"].get("rules", []):
        for backend in rule.get("backendRefs", []):
            yield backend["name"].rpartition("-")[2]
    if not is_followed(observed):
        yield from (entry.revision for entry in observed.deployment.status.history)


def _selected(observed: Observed) -> Iterator[str]:
    service = observed.child("Service", observed.deployment.metadata.name)
    if service:
        yield service["spec"].get("selector", {}).get(names.REVISION, "")
