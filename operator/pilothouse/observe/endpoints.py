"""How many pods of each revision callers can reach: those that its Service's EndpointSlices name as ready.

A pod is ready before its Service names it: the endpoint slice controller follows, on a busy cluster seconds
later, and until then a gateway answers 503 for the share of such a Service.
"""

from collections import defaultdict
from collections.abc import Iterable

from pilothouse.names import REVISION
from pilothouse.plan.observed import Object


def reachable(slices: Iterable[Object]) -> dict[str, int]:
    """Count pods by revision: the slices have their Service's labels, each address family has its own."""
    pods: defaultdict[str, set[str]] = defaultdict(set)
    for each in slices:
        revision = each["metadata"].get("labels", {}).get(REVISION)
        if revision:
            pods[revision] |= {pod["targetRef"]["uid"] for pod in each["endpoints"] or () if _serves(pod)}
    return {revision: len(uids) for revision, uids in pods.items()}


def _serves(endpoint: Object) -> bool:
    """Tell whether it is a pod that is ready; by the API one that does not say is."""
    return "targetRef" in endpoint and bool((endpoint.get("conditions") or {}).get("ready", True))
