"""Which revision serves, which may still get requests, and how many of a revision's pods can be called."""

from collections.abc import Iterator, Mapping

from pilothouse import names
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.programmed import is_followed, live_route
from pilothouse.plan.revision import Revision


def stable_of(observed: Observed, revisions: Mapping[str, Revision]) -> Revision | None:
    """Return what serves: by the status, else (it was lost) by the stable Service, else the oldest record."""
    status = observed.deployment.status
    candidates = [
        status.stable.revision if status.stable else None,
        *_selected(observed),
        min(revisions, key=lambda name: revisions[name].number, default=None),
    ]
    return next((revisions[name] for name in candidates if name and name in revisions), None)


def addressed(observed: Observed) -> Iterator[str]:
    """Name the revisions that may get requests, by what is live rather than by what is meant."""
    yield from _selected(observed)
    route = live_route(observed)
    if not route:
        return
    for rule in route["spec"].get("rules", []):
        for backend in rule.get("backendRefs", []):
            yield backend["name"].rpartition("-")[2]
    if not is_followed(observed):
        yield from _addressed_before(observed)


def has_served(observed: Observed, revision: str) -> bool:
    """Say whether the revision ever had a ready pod while it was stable."""
    history = {entry.revision for entry in observed.deployment.status.history}
    return revision in history or ready_replicas(observed, revision) > 0


def is_ready(observed: Observed, revision: str, wanted: int) -> bool:
    """Say whether every one of the pods that the revision should have is up to date and ready."""
    deployment = deployment_of(observed, revision)
    if not deployment or _is_outdated(deployment):
        return False
    status = deployment.get("status", {})
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas")}
    return deployment["spec"]["replicas"] == wanted and counts == {wanted}


def ready_replicas(observed: Observed, revision: str) -> int:
    """Count the revision's pods that are ready."""
    deployment = deployment_of(observed, revision) or {}
    return int(deployment.get("status", {}).get("readyReplicas", 0))


def reachable_replicas(observed: Observed, revision: str) -> int:
    """Count the revision's ready pods that its Service names, while a rollout is under way.

    A weight that comes before them is a share of 503.
    """
    return min(ready_replicas(observed, revision), observed.reachable.get(revision, 0))


def asked_replicas(observed: Observed, revision: str) -> int:
    """Count the pods that the revision's live Deployment asks for."""
    deployment = deployment_of(observed, revision)
    return int(deployment["spec"]["replicas"]) if deployment else 0


def deployment_of(observed: Observed, revision: str) -> Object | None:
    """Return the live Deployment of a revision, if there is one."""
    return observed.child("Deployment", names.child_name(observed.deployment.metadata.name, revision))


def _is_outdated(deployment: Object) -> bool:
    observed = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(observed < deployment["metadata"].get("generation", 0))


def _addressed_before(observed: Observed) -> Iterator[str]:
    """Name the revisions that an older route may still address."""
    status = observed.deployment.status
    yield from (entry.revision for entry in status.history)
    if status.canary:
        yield status.canary.revision
    if status.last_rollback:
        yield status.last_rollback.from_revision


def _selected(observed: Observed) -> Iterator[str]:
    service = observed.child("Service", observed.deployment.metadata.name)
    if service:
        yield service["spec"].get("selector", {}).get(names.REVISION, "")
