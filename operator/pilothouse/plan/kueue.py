"""Kueue's label on a Deployment: with it Kueue admits the pods, by a LocalQueue of the namespace.

It is given to new Deployments only. Kueue copies it into the pod template and refuses to change it while pods
are ready: on one that serves it would be an error at best, and a restart of its pods at worst.
"""

from pilothouse.names import KUEUE_QUEUE
from pilothouse.plan.observed import Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.serving import deployment_of


def queue_name(observed: Observed, revision: Revision) -> str:
    """Name the LocalQueue of a revision's Deployment: what it was made with, else what the quota says now."""
    live = deployment_of(observed, revision.name)
    if live is None:
        return observed.room.queue_name
    return str((live["metadata"].get("labels") or {}).get(KUEUE_QUEUE, ""))
