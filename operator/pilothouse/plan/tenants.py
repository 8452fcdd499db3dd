"""What of a tenant's limits one engine pod holds: its share, rounded up, of those for the whole model.

A pod can't know what the others do. Rounded down, a limit smaller than the number of pods would refuse all.
"""

import math
from collections.abc import Iterator

from pilothouse.api.tenantquota import Callers
from pilothouse.plan.observed import Object, Observed


def tenant_limits(observed: Observed) -> Object:
    """Return by tenant what the guard of each pod enforces; a limit that nobody set is left out."""
    pods = max(1, _ready_pods(observed))
    return {
        tenant: limits
        for tenant, callers in sorted(observed.callers.items())
        if (limits := dict(_limits(callers, observed.deployment.spec.queue_class_name, pods)))
    }


def _limits(callers: Callers, lane: str, pods: int) -> Iterator[tuple[str, int]]:
    mine = callers.per_queue_class.get(lane)
    wanted = (callers.per_tenant.concurrent_requests, mine.concurrent_requests if mine else None)
    if known := [limit for limit in wanted if limit is not None]:
        yield "concurrentRequests", math.ceil(min(known) / pods)
    if (each := callers.per_user.concurrent_requests) is not None:
        yield "perUserConcurrentRequests", math.ceil(each / pods)


def _ready_pods(observed: Observed) -> int:
    """Count the pods of all revisions: between them the callers of one tenant are spread."""
    live = observed.children_of_kind("Deployment")
    return sum((child.get("status") or {}).get("readyReplicas", 0) for child in live)
