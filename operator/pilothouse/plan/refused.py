"""What the API server said of a child that it refused."""

from pilothouse.names import Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Observed


def refused_child(observed: Observed, kinds: frozenset[str]) -> Cause | None:
    """Return what the API server said when it refused a child of these kinds in this very reconcile."""
    for key, message in sorted(observed.refusals.items()):
        if key.kind in kinds:
            return Cause(Reason.APPLY_REFUSED, f"{key.kind} {key.name}: {message}")
    return None
