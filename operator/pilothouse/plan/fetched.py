"""What a pod's fetch came to: how far it is, and why it ended before its time.

The init container leaves its reason as JSON in its termination message; what it says is the hub's or its own
word on artifacts, never on a prompt.
"""

import json
from typing import Final

from pilothouse.names import REVISION, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.podstate import NEVER_STARTED, fetch_status

REFUTES: Final = frozenset(
    {Reason.REVISION_NOT_FOUND, Reason.ARTIFACT_MISMATCH, Reason.LICENSE_MISMATCH, Reason.TOKENIZER_CHANGED}
)
"""Reasons that say of the pins themselves that they are wrong: another try ends alike."""

_REASONS: Final = REFUTES | {
    Reason.HUB_ACCESS_DENIED,
    Reason.HUB_RATE_LIMITED,
    Reason.HUB_UNAVAILABLE,
    Reason.CACHE_FULL,
    Reason.FETCH_FAILED,
}
_WAITING: Final = "Waiting"
"""The fetch's word for its turn at the cache not having come."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


def fetch_failure(pod: Object) -> Cause | None:
    """Return why the fetch in this pod ended last, unless it has come to its end since."""
    status = fetch_status(pod)
    ends = (status.get(field, {}).get("terminated") for field in ("state", "lastState"))
    last = next((end for end in ends if end), None)
    if not last or not last["exitCode"] or _is_over(status):
        return None
    reason, message = _said(last)
    return Cause(reason, f"{pod['metadata']['name']}: {message}")


def is_fetching(pod: Object) -> bool:
    """Tell a pod whose fetch runs."""
    return "running" in fetch_status(pod).get("state", {})


def fetching(observed: Observed, revision: str) -> str | None:
    """Say how far the fetch of this revision has come, None while none runs."""
    fetch = observed.fetch
    pods = {pod["metadata"]["name"]: pod for pod in observed.pods}
    if not fetch or fetch.pod not in pods or pods[fetch.pod]["metadata"]["labels"].get(REVISION) != revision:
        return None
    if not fetch.total_bytes:
        does = "waits for a pod that fetches the same" if fetch.phase == _WAITING else "asks the hub"
        return f"{fetch.pod} {does}"
    amount = f"{_size(fetch.bytes)} of {_size(fetch.total_bytes)}"
    return f"{fetch.pod}: {fetch.phase.lower()} {amount}, {_size(fetch.bytes_per_second)}/s"


def _is_over(status: Object) -> bool:
    ended = status.get("state", {}).get("terminated")
    return bool(ended) and ended["exitCode"] == 0


def _said(ended: Object) -> tuple[Reason, str]:
    """Read the termination message; a fetch that was killed leaves none."""
    if ended.get("reason") == NEVER_STARTED:
        return Reason.CONTAINER_CONFIG_INVALID, str(ended.get("message", NEVER_STARTED))
    killed = f"the fetch ended with code {ended['exitCode']} ({ended.get('reason', 'Error')})"
    try:
        said = json.loads(ended.get("message") or "")
        reason, message = Reason(said["reason"]), str(said["message"])
    except (ValueError, KeyError, TypeError):
        return Reason.FETCH_FAILED, killed
    return (reason, message) if reason in _REASONS else (Reason.FETCH_FAILED, message)


def _size(amount: float) -> str:
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:.1f} {unit}" if unit != "B" else f"{amount:.0f} B"
