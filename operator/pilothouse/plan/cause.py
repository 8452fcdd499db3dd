"""Why something is not as declared: the reason that people look up, and a sentence that names the field."""

from dataclasses import dataclass

from pilothouse.names import Reason
from pilothouse.plan.observed import Observed


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason, and what a person needs to know to act on it."""

    reason: Reason
    message: str


def refused_child(observed: Observed, kinds: frozenset[str]) -> Cause | None:
    """Return what the API server said when it refused a child of these kinds in this very reconcile."""
    for key, message in sorted(observed.refusals.items()):
        if key.kind in kinds:
            return Cause(Reason.APPLY_REFUSED, f"{key.kind} {key.name}: {message}")
    return None
