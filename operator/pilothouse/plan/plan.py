"""The whole decision for one ModelDeployment: all that should be, from all that was observed."""

from pilothouse.names import ConditionType
from pilothouse.plan.acceptance import refusal_of
from pilothouse.plan.conditions import Finding, findings
from pilothouse.plan.lifecycle import lifecycle_of
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.podtemplate import pod_template
from pilothouse.plan.revision import Revision, hash_of, inputs_of, next_number, revisions_of
from pilothouse.plan.rollout import Rollout, rollout_of
from pilothouse.plan.route import http_route
from pilothouse.plan.status import requeue_after, status_of
from pilothouse.plan.types import Event, Plan
from pilothouse.plan.workload import revision_objects, stable_service


def plan(observed: Observed) -> Plan:
    """Decide what to do for one ModelDeployment that parses and is not being deleted."""
    refusal = refusal_of(observed)
    revisions = revisions_of(observed)
    target = None if refusal else _target(observed, revisions)
    rollout = rollout_of(observed, revisions, target)
    found = findings(observed, rollout, refusal)
    objects = _objects(observed, rollout)
    return Plan(
        objects=tuple(objects),
        prunes=_prunes(observed, objects),
        status=status_of(observed, rollout, found).model_dump(mode="json", by_alias=True, exclude_none=True),
        events=_events(observed, found),
        requeue_after=requeue_after(observed, found),
    )


def _target(observed: Observed, revisions: dict[str, Revision]) -> Revision | None:
    """Return the revision that the spec asks for: frozen where it exists, else rendered now."""
    if not observed.queue_class or not observed.policy:
        return None
    inputs = inputs_of(observed.deployment, observed.queue_class)
    name = hash_of(inputs)
    if name in revisions:
        return revisions[name]
    lifecycle = lifecycle_of(observed.queue_class, observed.policy)
    template = pod_template(observed.deployment, observed.queue_class, lifecycle, name)
    return Revision(name, next_number(revisions), inputs, template, lifecycle)


def _objects(observed: Observed, rollout: Rollout) -> list[Object]:
    deployment = observed.deployment
    objects = [
        obj
        for revision in rollout.running
        for obj in revision_objects(deployment, revision, deployment.spec.replicas)
    ]
    if rollout.stable:
        objects.append(stable_service(deployment, rollout.stable.name))
    return [*objects, *_route(observed, rollout)]


def _route(observed: Observed, rollout: Rollout) -> list[Object]:
    route, queue_class = observed.deployment.spec.route, observed.queue_class
    if not route or not queue_class or not rollout.stable or "HTTPRoute" not in observed.served_kinds:
        return []
    return [http_route(observed.deployment, route, queue_class, rollout.weights)]


def _prunes(observed: Observed, objects: list[Object]) -> tuple[ObjectKey, ...]:
    wanted = {key_of(obj) for obj in objects}
    return tuple(
        key for key in sorted(observed.children) if key not in wanted and not _is_held(observed, key)
    )


def _is_held(observed: Observed, key: ObjectKey) -> bool:
    """Keep the live route while its lane is unknown: what serves goes on serving."""
    return key.kind == "HTTPRoute" and bool(observed.deployment.spec.route) and not observed.queue_class


def _events(observed: Observed, found: list[Finding]) -> tuple[Event, ...]:
    """Tell a change of Ready, once."""
    before = {condition.type: condition for condition in observed.deployment.status.conditions}
    ready = next(finding for finding in found if finding.type is ConditionType.READY)
    known = before.get(ConditionType.READY)
    if known and known.reason == ready.reason:
        return ()
    stalled = any(finding.type is ConditionType.STALLED and finding.status for finding in found)
    return (Event("Warning" if stalled else "Normal", ready.reason, ready.message),)
