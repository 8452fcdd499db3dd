"""Who serves what, from which source, under which license and since when: one row for each revision.

Today's rows come from the status and from the ControllerRevision, which nobody can change. A past day's come
from `status.history` alone, and what it does not hold is said instead of guessed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import LicenseStatus, RevisionStatus, ServedRevision
from pilothouse.api.values import Timestamp
from pilothouse.cli.cluster import Cluster
from pilothouse.kinds import CHILDREN_SELECTOR, CONTROLLER_REVISION, MODEL_DEPLOYMENT
from pilothouse.names import ConditionType, child_name
from pilothouse.plan.observed import Object
from pilothouse.plan.steps import FULL

HISTORY_LIMITS: Final = (
    "status.history holds the last ten revisions that became stable; canaries that were put back and "
    "ModelDeployments that were deleted are not in it"
)
_KEPT: Final = 10


class _Line(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, frozen=True, validate_by_name=True, use_attribute_docstrings=True
    )


class Row(_Line):
    """One revision that serves, or served; what is not known is empty."""

    namespace: str
    deployment: str
    model: str
    """What clients put in the "model" field of a request."""
    state: str
    """stable or canary."""
    weight: int | None = None
    """Its share of the traffic that the route asks for, in percent; unknown for a past day."""
    revision: str
    checkpoint_source: str
    checkpoint_revision: str
    tokenizer_source: str = ""
    tokenizer_revision: str
    license_id: str = Field(serialization_alias="licenseID")
    license_state: str = ""
    """What the policies say now of what the spec declares, as a reason; empty for another revision."""
    policy: str = ""
    approval: str = ""
    ticket: str = ""
    approval_expires: Timestamp | None = None
    since: Timestamp | None = None
    """When it became stable; for a canary when its rollout began."""
    until: Timestamp | None = None
    """When another took its place."""
    phase: str = ""
    """That of the whole ModelDeployment."""
    ready_replicas: int | None = None


class Note(_Line):
    """What a report does not know of one ModelDeployment."""

    namespace: str
    deployment: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """The rows by namespace and name, as of a moment."""

    as_of: datetime
    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()
    limits: str = ""


async def report(cluster: Cluster, namespace: str, now: datetime, as_of: datetime | None) -> Report:
    """Look at a namespace, or at all of them where it is empty."""
    models, unread = _parsed(await cluster.list(MODEL_DEPLOYMENT, namespace))
    if as_of:
        return report_then(models, as_of, unread)
    records = await cluster.list(CONTROLLER_REVISION, namespace, CHILDREN_SELECTOR)
    return report_now(models, records, now, unread)


def report_now(
    models: Iterable[ModelDeployment], records: Iterable[Object], now: datetime, unread: Iterable[Note] = ()
) -> Report:
    """Say what serves now; `records` are the ControllerRevisions."""
    inputs = {_place(record): record["data"]["inputs"] for record in records}
    rows = tuple(row for model in models for row in _rows(model, inputs))
    return Report(now, rows, tuple(unread))


def report_then(models: Iterable[ModelDeployment], moment: datetime, unread: Iterable[Note] = ()) -> Report:
    """Say what served at a moment, as far as the histories reach back."""
    found = [_then(model, moment) for model in models]
    rows = tuple(each for each in found if isinstance(each, Row))
    notes = tuple(each for each in found if isinstance(each, Note))
    return Report(moment, rows, (*unread, *notes), HISTORY_LIMITS)


def _parsed(objects: Iterable[Object]) -> tuple[list[ModelDeployment], list[Note]]:
    models, unread = [], []
    for obj in sorted(objects, key=_place):
        try:
            models.append(ModelDeployment.parse(obj))
        except ValidationError:
            namespace, name = _place(obj)
            unread.append(
                Note(namespace=namespace, deployment=name, message="does not hold to this release's schema")
            )
    return models, unread


def _rows(model: ModelDeployment, inputs: Mapping[tuple[str, str], Object]) -> Iterator[Row]:
    status = model.status
    weight = status.canary.weight.desired if status.canary and status.canary.weight else 0
    if status.stable:
        part = {"state": "stable", "weight": FULL - weight, "since": _since(model, status.stable)}
        yield Row.model_validate({**_facts(model, status.stable, inputs), **part})
    if status.canary:
        began = status.rollout.started_at if status.rollout else None
        part = {"state": "canary", "weight": weight, "since": began}
        yield Row.model_validate({**_facts(model, status.canary, inputs), **part})


def _facts(model: ModelDeployment, part: RevisionStatus, inputs: Mapping[tuple[str, str], Object]) -> Object:
    """Return what is known of a revision that runs: by its record, else by the history."""
    metadata, served = model.metadata, _served(model, part.revision)
    pinned = inputs.get((metadata.namespace, child_name(metadata.name, part.revision)), {}).get("model", {})
    return {
        "namespace": metadata.namespace,
        "deployment": metadata.name,
        "model": pinned.get("name") or (served.model if served else ""),
        "revision": part.revision,
        "checkpoint_source": _source(pinned, "checkpoint") or (served.checkpoint_source if served else ""),
        "checkpoint_revision": part.checkpoint_revision,
        "tokenizer_source": _source(pinned, "tokenizer"),
        "tokenizer_revision": part.tokenizer_revision,
        "license_id": part.license_id,
        "phase": model.status.phase,
        "ready_replicas": part.ready_replicas,
        **_license_facts(model, part, served),
    }


def _license_facts(model: ModelDeployment, part: RevisionStatus, served: ServedRevision | None) -> Object:
    """Return the word of today for what the spec declares, else the one under which the revision began."""
    if _is_declared(model, part):
        license_ = model.status.license or LicenseStatus(id=part.license_id, decision="")
        return {
            "license_state": _license_reason(model),
            "policy": license_.policy,
            "approval": license_.approval,
            "ticket": license_.ticket,
            "approval_expires": license_.expires,
        }
    if not served:
        return {}
    return {"policy": served.policy, "approval": served.approval, "ticket": served.ticket}


def _is_declared(model: ModelDeployment, part: RevisionStatus) -> bool:
    declared = model.spec.model
    pins = (declared.checkpoint.revision, declared.license.id)
    return pins == (part.checkpoint_revision, part.license_id)


def _license_reason(model: ModelDeployment) -> str:
    reasons = {condition.type: condition.reason for condition in model.status.conditions}
    return reasons.get(ConditionType.LICENSE_ACCEPTED, "")


def _source(pinned: Object, role: str) -> str:
    return str(pinned.get(role, {}).get("source", ""))


def _since(model: ModelDeployment, stable: RevisionStatus) -> datetime | None:
    served = _served(model, stable.revision)
    return served.served_from if served and not served.served_until else None


def _served(model: ModelDeployment, revision: str) -> ServedRevision | None:
    return next((each for each in model.status.history if each.revision == revision), None)


def _then(model: ModelDeployment, moment: datetime) -> Row | Note | None:
    """Return what was stable then; a note where the history does not reach back, None where nothing was."""
    for entry in model.status.history:
        if entry.served_from <= moment and (entry.served_until is None or moment < entry.served_until):
            return _row_of(model, entry)
    metadata, history = model.metadata, model.status.history
    if metadata.creation_timestamp and moment < metadata.creation_timestamp:
        return None
    return Note(namespace=metadata.namespace, deployment=metadata.name, message=_why_none(history, moment))


def _why_none(history: tuple[ServedRevision, ...], moment: datetime) -> str:
    if not history:
        return "its history is empty: nothing has served, or the status was lost"
    before = next((entry for entry in history if entry.served_from <= moment), None)
    if before:
        return f"nothing served then: revision {before.revision} had ended"
    oldest = f"{history[-1].served_from:%Y-%m-%dT%H:%M:%SZ}"
    if len(history) < _KEPT:
        return f"nothing is on record before {oldest}: nothing served, or the status was lost"
    return f"unknown: its history of ten revisions begins at {oldest}"


def _row_of(model: ModelDeployment, entry: ServedRevision) -> Row:
    return Row(
        namespace=model.metadata.namespace,
        deployment=model.metadata.name,
        model=entry.model,
        state="stable",
        revision=entry.revision,
        checkpoint_source=entry.checkpoint_source,
        checkpoint_revision=entry.checkpoint_revision,
        tokenizer_revision=entry.tokenizer_revision,
        license_id=entry.license_id,
        policy=entry.policy,
        approval=entry.approval,
        ticket=entry.ticket,
        since=entry.served_from,
        until=entry.served_until,
    )


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
