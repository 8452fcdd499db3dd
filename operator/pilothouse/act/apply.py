"""Carries out a Plan by server-side apply and by deletion, and leaves alone what is as planned.

A refusal of one object does not stop the others: refusals are returned, so that the status can say them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pilothouse.act.drift import drift
from pilothouse.act.kube import Kube
from pilothouse.errors import Conflict, NamespaceTerminating, NotFound, PilothouseError, Terminal
from pilothouse.names import APPLIED
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.types import Plan
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)
_SHOWN_FIELDS: Final = 8


@dataclass(slots=True)
class Applied:
    """What came of it: the live objects that were changed, and what the API server refused and why."""

    changed: dict[ObjectKey, Object] = field(default_factory=dict)
    refused: dict[ObjectKey, PilothouseError] = field(default_factory=dict)

    @property
    def refusals(self) -> dict[ObjectKey, str]:
        """The API server's own words, by object; a namespace that is going away is no news."""
        return {
            key: str(error)
            for key, error in self.refused.items()
            if not isinstance(error, NamespaceTerminating)
        }


class Apply:
    """Applies plans; `upsert` takes each answer: our own writes are no news when a watch brings them."""

    def __init__(self, kube: Kube, upsert: Callable[[Object], object]) -> None:
        self._kube = kube
        self._upsert = upsert
        # What the API server keeps otherwise than asked, say a mutating webhook: asking again would change
        # nothing.
        self._settled: dict[ObjectKey, tuple[str, tuple[str, ...]]] = {}

    async def __call__(self, plan: Plan, children: Mapping[ObjectKey, Object]) -> Applied:
        """Apply what differs from the live `children`, in order, then prune. Raises Retryable."""
        applied = Applied()
        for obj in plan.objects:
            await self._apply_one(obj, children, applied)
        for key in plan.prunes:
            await self._prune(key, children[key])
        return applied

    async def _apply_one(self, obj: Object, children: Mapping[ObjectKey, Object], applied: Applied) -> None:
        key, desired = key_of(obj), with_digest(obj)
        live = children.get(key)
        changes = self._changes(key, desired, live)
        if live is not None and not changes:
            return
        try:
            answer = await self._send(desired, live)
        except (Conflict, Terminal) as error:
            applied.refused[key] = error
            return
        self._upsert(answer)
        applied.changed[key] = answer
        self._settle(key, desired, answer)
        reason = _reason(live, desired)
        _log.info("Applied", object=f"{key.kind}/{key.name}", reason=reason, diff=changes[:_SHOWN_FIELDS])

    def _changes(self, key: ObjectKey, desired: Object, live: Object | None) -> list[str]:
        if live is None:
            return []
        changes = drift(desired, live)
        settled = (_digest_of(desired), tuple(changes))
        return [] if changes and self._settled.get(key) == settled else changes

    def _settle(self, key: ObjectKey, desired: Object, answer: Object) -> None:
        kept_otherwise = drift(desired, answer)
        if not kept_otherwise:
            self._settled.pop(key, None)
            return
        self._settled[key] = (_digest_of(desired), tuple(kept_otherwise))
        _log.warning(
            "Kept otherwise than asked", object=f"{key.kind}/{key.name}", diff=kept_otherwise[:_SHOWN_FIELDS]
        )

    async def _send(self, desired: Object, live: Object | None) -> Object:
        """Take by force only what is ours: a foreign object of the same name is never taken over."""
        if live is not None:
            return await self._kube.apply(desired, force=True)
        try:
            return await self._kube.apply(desired, force=False)
        except Conflict:
            found = await self._kube.get(key_of(desired))
            if not _have_the_same_owner(found, desired):
                raise
        # Ours after all: somebody took our label off, so no watch shows it.
        return await self._kube.apply(desired, force=True)

    async def _prune(self, key: ObjectKey, live: Object) -> None:
        if live["metadata"].get("deletionTimestamp"):
            return
        try:
            await self._kube.delete(key, live["metadata"]["uid"])
        except NotFound:
            return
        _log.info("Deleted", object=f"{key.kind}/{key.name}", reason="NotPlanned")


def with_digest(obj: Object) -> Object:
    """Return the object with the annotation that tells what was asked for."""
    text = json.dumps(_canonical(obj), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = obj["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED: digest}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _canonical(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Write a number as the API server gives it back: 1800.0 comes back as 1800."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _have_the_same_owner(found: Object, desired: Object) -> bool:
    owners = {owner["uid"] for owner in found["metadata"].get("ownerReferences") or []}
    return any(owner["uid"] in owners for owner in desired["metadata"]["ownerReferences"])


def _digest_of(obj: Object) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(APPLIED, ""))


def _reason(live: Object | None, desired: Object) -> str:
    if live is None:
        return "Missing"
    return "Drifted" if _digest_of(live) == _digest_of(desired) else "Planned"
