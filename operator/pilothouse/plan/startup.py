"""How long a revision's pods take to be ready, and whether the policy gives a new revision as long.

A pod whose Ready came and went looks as if it had loaded for longer than it did. So the fastest pod counts,
of a revision that serves only those that began with it, and what was seen first stays.
"""

from datetime import datetime

from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.podstate import seconds_to_ready


def startup_seconds(observed: Observed, revision: str) -> float | None:
    """Return what is on record of the revision, else what the fastest of its pods took; None if unknown."""
    status = observed.deployment.status
    for part in (status.stable, status.canary):
        if part and part.revision == revision and part.startup_seconds is not None:
            return part.startup_seconds
    served_from = next((entry.served_from for entry in status.history if entry.revision == revision), None)
    pods = (pod for pod in pods_of(observed.pods, revision) if is_ready(pod))
    seen = (_seconds(pod, served_from) for pod in pods)
    return min((seconds for seconds in seen if seconds is not None), default=None)


def deadline_warning(observed: Observed, revision: str) -> str | None:
    """Say that a revision like this one could not be ready within the policy's startupDeadline."""
    took = startup_seconds(observed, revision)
    if not observed.policy or took is None or took <= observed.policy.startup_deadline.seconds:
        return None
    deadline = f"but startupDeadline {observed.policy.startup_deadline} is too short for a rollout"
    return f"{deadline}: a pod of revision {revision} took {took:.0f}s to be ready"


def _seconds(pod: Object, served_from: datetime | None) -> float | None:
    """Return how long the pod took, at most until its revision served; of a later pod nobody can tell."""
    took = seconds_to_ready(pod)
    if took is None or served_from is None:
        return took
    until_served = (served_from - datetime.fromisoformat(pod["status"]["startTime"])).total_seconds()
    return min(took, until_served) if until_served > 0 else None
