"""Posts Kubernetes Events with the reasons of the conditions; the same one is not told twice in a row."""

import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pilothouse.act.kube import Kube
from pilothouse.errors import NamespaceTerminating, PilothouseError
from pilothouse.names import GROUP
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Event
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)
_REMEMBERED: Final = 4096
_NOTE_LIMIT: Final = 1024
"""The API server refuses a longer note."""


class Events:
    """Posts Events; one that can't be posted is logged and costs nothing else."""

    def __init__(self, kube: Kube, instance: str, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._instance = instance
        self._now = now
        self._last: OrderedDict[str, Event] = OrderedDict()

    async def post(self, about: Object, event: Event) -> None:
        """Post an Event about an object, unless it is the last one that was posted about it."""
        uid = about["metadata"]["uid"]
        if self._last.get(uid) == event:
            return
        try:
            await self._kube.create(self._object(about, event))
        except NamespaceTerminating:
            return
        except PilothouseError as error:
            _log.warning("Event not posted", reason=event.reason, error=str(error))
            return
        self._remember(uid, event)

    def _remember(self, uid: str, event: Event) -> None:
        self._last[uid] = event
        self._last.move_to_end(uid)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    def _object(self, about: Object, event: Event) -> Object:
        metadata = about["metadata"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "eventTime": self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": event.reason,
            "type": event.type,
            "note": event.message[:_NOTE_LIMIT],
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
