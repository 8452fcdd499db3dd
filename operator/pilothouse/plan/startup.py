"""How long a revision's pods take to be ready, and whether the policy gives a new revision as long.

A pod whose Ready came and went looks as if it had loaded for longer than it did. So the fastest pod counts,
and what was seen first stays: a warning that is shown is true of every pod.
"""

from pilothouse.plan.observed import Observed
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.podstate import seconds_to_ready


def startup_seconds(observed: Observed, revision: str) -> float | None:
    """Return what is on record of the revision, else what the fastest of its pods took; None if unknown."""
    status = observed.deployment.status
    for part in (status.stable, status.canary):
        if part and part.revision == revision and part.startup_seconds is not None:
            return part.startup_seconds
    seen = (seconds_to_ready(pod) for pod in pods_of(observed.pods, revision) if is_ready(pod))
    return min((seconds for seconds in seen if seconds is not None), default=None)


def deadline_warning(observed: Observed, revision: str) -> str | None:
    """Say that a revision like this one could not be ready within the policy's startupDeadline."""
    took = startup_seconds(observed, revision)
    if not observed.policy or took is None or took <= observed.policy.startup_deadline.seconds:
        return None
    deadline = f"but startupDeadline {observed.policy.startup_deadline} is too short for a rollout"
    return f"{deadline}: a pod of revision {revision} took {took:.0f}s to be ready"
