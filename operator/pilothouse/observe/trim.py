"""What of an object is worth its memory, and worth a reconcile when it changes."""

import sys
from typing import Final

from pilothouse.plan.observed import Object

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def trim(obj: Object) -> Object:
    """Return the object without what no decision reads: who manages which field, and counts of other objects.

    A Gateway counts the routes attached to it. Kept, each new ModelDeployment would wake all others of that
    Gateway.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _UNREAD}
    annotations = metadata.get("annotations") or {}
    if _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    trimmed = {**obj, "metadata": metadata}
    if obj["kind"] == "ConfigMap":
        return {**trimmed, "data": _interned(obj.get("data") or {})}
    return _without_route_counts(trimmed) if obj["kind"] == "Gateway" else trimmed


_UNREAD: Final = frozenset({"managedFields", "resourceVersion", "selfLink"})


def _interned(data: dict[str, str]) -> dict[str, str]:
    """Hold texts once that many objects have alike: every revision carries the same code."""
    return {name: sys.intern(text) for name, text in data.items()}


def _without_route_counts(gateway: Object) -> Object:
    status = gateway.get("status") or {}
    listeners = [
        {key: value for key, value in listener.items() if key != "attachedRoutes"}
        for listener in status.get("listeners") or []
    ]
    return {**gateway, "status": {**status, "listeners": listeners}}
