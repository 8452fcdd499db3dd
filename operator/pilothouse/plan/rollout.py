"""Which revision serves, which one is wanted, and when the one takes over from the other.

For now a wanted revision starts beside the stable one at full size, takes all traffic at once when all of its
pods are ready, and the former one is removed when the gateway has followed. Until then the stable revision
serves, whatever becomes of the wanted one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse import names
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.revision import Revision


@dataclass(frozen=True, slots=True)
class Rollout:
    """Revisions by their part.

    `target` is what the spec asks for, None where it can't be carried out; `former` still has its pods.
    """

    stable: Revision | None
    target: Revision | None
    former: Revision | None = None

    @property
    def running(self) -> list[Revision]:
        """Revisions that have pods: stable first."""
        parts = (self.stable, self.target, self.former)
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
    if not serving or not target or serving.name == target.name:
        return Rollout(serving or target, target, _undrained(observed, revisions, serving or target))
    if is_ready(observed, target.name):
        return Rollout(target, target, former=serving)
    return Rollout(serving, target)


def is_ready(observed: Observed, revision: str) -> bool:
    """Say whether every pod that the revision should have is up to date and ready."""
    deployment = deployment_of(observed, revision)
    if not deployment or _is_outdated(deployment):
        return False
    status, wanted = deployment.get("status", {}), observed.deployment.spec.replicas
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas")}
    return deployment["spec"]["replicas"] == wanted and counts == {wanted}


def deployment_of(observed: Observed, revision: str) -> Object | None:
    """Return the live Deployment of a revision, if there is one."""
    return observed.child("Deployment", names.child_name(observed.deployment.metadata.name, revision))


def route_is_followed(observed: Observed) -> bool:
    """Say whether every gateway has accepted the live route as it is; without a route nobody needs to."""
    declared = observed.deployment.spec.route
    if not declared or "HTTPRoute" not in observed.served_kinds:
        return True
    route = observed.child("HTTPRoute", observed.deployment.metadata.name)
    if not route or route_refusal(route):
        return False
    return len(_parents_that_speak(route)) >= len(declared.parent_refs)


def route_refusal(route: Object) -> str | None:
    """Return what a gateway says against the route as it is now, in its own words."""
    for parent in _parents_that_speak(route):
        for condition in parent["conditions"]:
            if condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] == "False":
                return f"{parent['parentRef']['name']}: {condition['reason']}: {condition.get('message', '')}"
    return None


def _parents_that_speak(route: Object) -> list[Object]:
    generation = route["metadata"].get("generation", 0)
    parents: list[Object] = route.get("status", {}).get("parents", [])
    return [
        parent
        for parent in parents
        if any(
            condition["type"] == "Accepted" and condition.get("observedGeneration", generation) >= generation
            for condition in parent.get("conditions", [])
        )
    ]


def _is_outdated(deployment: Object) -> bool:
    observed = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(observed < deployment["metadata"].get("generation", 0))


def _serving(observed: Observed, revisions: Mapping[str, Revision]) -> Revision | None:
    """Return what serves: by the status, else (it was lost) by the stable Service, else the oldest record."""
    status = observed.deployment.status
    service = observed.child("Service", observed.deployment.metadata.name)
    candidates = [
        status.stable.revision if status.stable else None,
        service["spec"].get("selector", {}).get(names.REVISION) if service else None,
        min(revisions, key=lambda name: revisions[name].number, default=None),
    ]
    return next((revisions[name] for name in candidates if name and name in revisions), None)


def _undrained(
    observed: Observed, revisions: Mapping[str, Revision], stable: Revision | None
) -> Revision | None:
    """Return the former revision while some gateway may still send requests to it."""
    if route_is_followed(observed):
        return None
    served = [entry.revision for entry in observed.deployment.status.history]
    former = [name for name in served if name in revisions and not (stable and name == stable.name)]
    return revisions[former[0]] if former else None
