"""What a guard is to hold requests to, worked out anew by the operator's own function.

A ConfigMap can be changed by whoever may, and a minute later its pods agree with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.cli.cluster import Cluster
from pilothouse.errors import PilothouseError
from pilothouse.kinds import DEPLOYMENT, QUEUE_CLASS, TENANT_QUOTA
from pilothouse.observe.callers import tenants
from pilothouse.plan.guardsettings import guard_settings
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.revision import revision_of


@dataclass(frozen=True, slots=True)
class Rules:
    """Lanes by name, TenantQuotas, and the Deployments of the models that are asked about."""

    lanes: Mapping[str, QueueClass]
    quotas: list[Object]
    workloads: Mapping[ObjectKey, Object]

    def settings(self, model: ModelDeployment, record: Object, live: Object) -> Object:
        """Return the settings that a revision's pods are to have; of a lane that is gone, those they have."""
        observed = Observed(
            now=datetime.now(UTC),
            deployment=model,
            queue_class=self.lanes.get(model.spec.queue_class_name),
            policy=None,
            children={key: obj for key, obj in self.workloads.items() if _owns(model, obj)},
            tenants=tenants(self.quotas, model),
        )
        return guard_settings(observed, revision_of(record, model.metadata.name), live)


async def rules(cluster: Cluster, namespace: str, selector: str) -> Rules | str:
    """Read them; a text says why they can't be read."""
    try:
        lanes = await cluster.list(QUEUE_CLASS, "")
        quotas = await cluster.list(TENANT_QUOTA, "")
        workloads = await cluster.list(DEPLOYMENT, namespace, selector)
    except PilothouseError as error:
        return str(error)
    readable = {obj["metadata"]["name"]: lane for obj in lanes if (lane := _lane_or_none(obj))}
    return Rules(readable, quotas, {key_of(obj): obj for obj in workloads})


def _lane_or_none(obj: Object) -> QueueClass | None:
    try:
        return QueueClass.parse(obj)
    except ValidationError:
        return None


def _owns(model: ModelDeployment, obj: Object) -> bool:
    owners = obj["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == model.metadata.uid for owner in owners)
