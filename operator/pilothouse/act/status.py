"""Writes a status: once, and only if it differs from the live one."""

from typing import Any

from pilothouse.act.kube import Kube
from pilothouse.plan.observed import Object, key_of


async def write_status(kube: Kube, live: Object, status: Object, version: int | None = None) -> Object | None:
    """Make `status` the status of `live`; return the server's answer, or None where nothing was to be done.

    Raises what `Kube.patch_status` raises; a Conflict means that an object of the same name took its place,
    or, where a `version` is given, that the object has changed since that version.
    """
    patch = merge_patch(live.get("status") or {}, status)
    if not patch:
        return None
    metadata = {"uid": live["metadata"]["uid"]}
    if version is not None:
        metadata["resourceVersion"] = str(version)
    return await kube.patch_status(key_of(live), {"metadata": metadata, "status": patch})


def merge_patch(before: Object, after: Object) -> Object:
    """Return the JSON merge patch (RFC 7386) from one to the other; empty where they are equal."""
    removed = dict.fromkeys(before.keys() - after.keys())
    changed = {
        key: _patched(before.get(key), value) for key, value in after.items() if before.get(key) != value
    }
    return removed | changed


def _patched(before: Any, after: Any) -> Any:  # noqa: ANN401 -- JSON
    return merge_patch(before, after) if isinstance(before, dict) and isinstance(after, dict) else after
