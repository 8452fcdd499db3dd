"""Writes a status: once, only if it differs from the live one, and never over what was not seen."""

from typing import Any

from pilothouse.act.kube import Kube
from pilothouse.errors import Conflict, Outdated
from pilothouse.plan.observed import Object, key_of


async def write_status(kube: Kube, live: Object, status: Object) -> Object | None:
    """Make `status` the status of `live`; return the server's answer, or None where nothing was to be done.

    Raises Outdated where the object is not at the version of `live` any more, and what else
    `Kube.patch_status` raises. The API server checks the version alone: of a patch to a status it ignores the
    uid, but no two objects of a name have had the same version.
    """
    patch = merge_patch(live.get("status") or {}, status)
    if not patch:
        return None
    body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": patch}
    try:
        return await kube.patch_status(key_of(live), body)
    except Conflict as error:
        raise Outdated(str(error)) from error


def merge_patch(before: Object, after: Object) -> Object:
    """Return the JSON merge patch (RFC 7386) from one to the other; empty where they are equal."""
    removed = dict.fromkeys(before.keys() - after.keys())
    changed = {
        key: _patched(before.get(key), value) for key, value in after.items() if before.get(key) != value
    }
    return removed | changed


def _patched(before: Any, after: Any) -> Any:  # noqa: ANN401 -- JSON
    return merge_patch(before, after) if isinstance(before, dict) and isinstance(after, dict) else after
