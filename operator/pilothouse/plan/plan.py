"""The whole decision for one ModelDeployment: all that should be, from all that was observed."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from pilothouse.names import child_name
from pilothouse.plan.acceptance import refusal_of
from pilothouse.plan.conditions import findings
from pilothouse.plan.course import rollout_of
from pilothouse.plan.events import events_of
from pilothouse.plan.gpuroom import allot, need_of
from pilothouse.plan.kueue import queue_name
from pilothouse.plan.licenses import Licenses, licenses_of
from pilothouse.plan.lifecycle import lifecycle_of
from pilothouse.plan.modelinfo import model_infos
from pilothouse.plan.network import network_policy
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.podfiles import config_map
from pilothouse.plan.podlayout import digest_of
from pilothouse.plan.podtemplate import pod_template
from pilothouse.plan.record import annotations_of, record_of
from pilothouse.plan.revision import Revision, hash_of, inputs_of, is_forged, next_number, revisions_of
from pilothouse.plan.rollout import Rollout
from pilothouse.plan.route import http_route
from pilothouse.plan.routecallers import route_callers
from pilothouse.plan.serving import asked_replicas, stable_of
from pilothouse.plan.status import decides, look_again_after, status_of
from pilothouse.plan.types import Plan
from pilothouse.plan.workload import revision_objects, stable_service

_NEXT: Final = timedelta(seconds=1)
"""When to look again after a prune: one that is planned after a write is the next reconcile's to do."""

_ROUTING: Final = frozenset({"HTTPRoute", "Middleware"})


def plan(observed: Observed) -> Plan:
    """Decide what to do for one ModelDeployment that parses and is not being deleted."""
    refusal, revisions = refusal_of(observed), revisions_of(observed)
    licenses = licenses_of(observed, revisions)
    target = _target(observed, revisions) if licenses.declared.allowed and not refusal else None
    rollout = _rollout(observed, revisions, target, licenses)
    wanted = [(revision, _replicas(observed, rollout, revision, licenses)) for revision in rollout.running]
    pods = allot(observed, wanted)
    need = need_of(observed, wanted, pods, rollout.gpus)
    found = findings(observed, rollout, refusal, licenses, need)
    objects = _objects(observed, rollout, pods)
    prunes = _prunes(observed, objects)
    ends = licenses.look_again_after(observed.now)
    waits = (look_again_after(observed, found), ends, rollout.again, _NEXT if prunes else None)
    status = status_of(observed, rollout, found, licenses)
    return Plan(
        objects=tuple(objects),
        prunes=prunes,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=events_of(found, observed.deployment.status.conditions),
        requeue_after=_sooner(*waits),
        commits=decides(observed.deployment.status, status),
        serves=model_infos(observed.deployment, rollout),
        gpus=need,
    )


def _rollout(
    observed: Observed, revisions: dict[str, Revision], target: Revision | None, licenses: Licenses
) -> Rollout:
    """Decide who serves, of those whose license does not have them stopped."""
    stable, canary = stable_of(observed, revisions), observed.deployment.status.canary
    if stable and not target and licenses.of(stable).drains:
        return _nothing(observed)
    kept = licenses.kept(revisions, canary.revision if canary else None)
    return rollout_of(observed, kept, target, licenses.declared)


def _nothing(observed: Observed) -> Rollout:
    """Stop all that runs, and remember what is not to be tried again."""
    return Rollout(None, None, record=replace(record_of(observed), rollout=None))


def _target(observed: Observed, revisions: dict[str, Revision]) -> Revision | None:
    """Return the revision that the spec asks for: frozen where it exists, else rendered now."""
    if not observed.queue_class or not observed.policy:
        return None
    inputs = inputs_of(observed.deployment, observed.queue_class)
    name = hash_of(inputs)
    if name in revisions:
        return revisions[name]
    lifecycle = lifecycle_of(observed.queue_class, observed.policy)
    template = pod_template(observed.deployment, observed.queue_class, lifecycle, name, observed.hub)
    return Revision(name, next_number(revisions), inputs, template, lifecycle, digest_of(observed.pod_files))


def _objects(observed: Observed, rollout: Rollout, pods: dict[str, int]) -> list[Object]:
    deployment = observed.deployment
    objects = [
        obj
        for revision in rollout.running
        for obj in [
            *config_map(observed, revision),
            *revision_objects(
                deployment,
                revision,
                pods[revision.name],
                queue_name=queue_name(observed, revision),
                annotations=annotations_of(rollout.record.rejected) if revision == rollout.stable else {},
            ),
        ]
    ]
    traffic, fence = _traffic(observed, rollout), _fence(observed) if objects else []
    # A rollback must not wait for anything; a new backend must be there before it is named.
    backends_exist = _backends_exist(observed, rollout)
    return [*traffic, *fence, *objects] if backends_exist else [*fence, *objects, *traffic]


def _fence(observed: Observed) -> list[Object]:
    """Return the NetworkPolicy, where it is known whom it is to let in."""
    namespaces = observed.allowed_namespaces
    return [network_policy(observed.deployment, namespaces)] if namespaces else []


def _traffic(observed: Observed, rollout: Rollout) -> list[Object]:
    """Return the route, and the Service for callers whom no route weighs."""
    service = [stable_service(observed.deployment, rollout.serving.name)] if rollout.serving else []
    return [*_route(observed, rollout), *service]


def _backends_exist(observed: Observed, rollout: Rollout) -> bool:
    name = observed.deployment.metadata.name
    weighed = (revision for revision, weight in rollout.weights.items() if weight)
    return all(observed.child("Service", child_name(name, revision)) for revision in weighed)


def _replicas(observed: Observed, rollout: Rollout, revision: Revision, licenses: Licenses) -> int:
    """Return how many pods a revision gets: under a license that is not allowed, never one more."""
    wanted, live = rollout.replicas_of(revision, observed.deployment.spec.replicas), None
    if revision in rollout.former or not licenses.of(revision).allowed:
        live = asked_replicas(observed, revision.name)
    return wanted if live is None else min(wanted, live)


def _sooner(*waits: timedelta | None) -> timedelta | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _route(observed: Observed, rollout: Rollout) -> list[Object]:
    route, queue_class = observed.deployment.spec.route, observed.queue_class
    if not route or not queue_class or not rollout.stable or "HTTPRoute" not in observed.served_kinds:
        return []
    callers = route_callers(observed)
    return [*callers.objects, http_route(observed.deployment, route, queue_class, rollout.weights, callers)]


def _prunes(observed: Observed, objects: list[Object]) -> tuple[ObjectKey, ...]:
    """Name what is not planned and not already going, the ControllerRevision last: what runs is on record.

    A forged record goes too: nobody can change one, so it would stand in the way of the true one.
    """
    wanted = {key_of(obj): obj for obj in objects}
    return tuple(
        key
        for key, child in sorted(observed.children.items(), reverse=True, key=lambda item: item[0])
        if (key not in wanted or is_forged(child, wanted[key]))
        and not _is_held(observed, key)
        and not child["metadata"].get("deletionTimestamp")
    )


def _is_held(observed: Observed, key: ObjectKey) -> bool:
    """Keep the live route while its lane is unknown, and what it names: what serves goes on serving."""
    lane_is_unknown = bool(observed.deployment.spec.route) and not observed.queue_class
    return key.kind in _ROUTING and lane_is_unknown
