"""The children of one revision (record, Deployment, Service, disruption budget) and the stable Service.

Each function computes the full object from intent, as server-side apply wants it; none edits what was read.
"""

from collections.abc import Mapping
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.observed import Object
from pilothouse.plan.revision import Revision

SERVICE_PORT: Final = 80
_REVISION_HISTORY: Final = 1


def revision_objects(
    deployment: ModelDeployment,
    revision: Revision,
    replicas: int,
    *,
    queue_name: str = "",
    annotations: Mapping[str, str],
) -> list[Object]:
    """Return all children of one revision, the frozen inputs first: nothing runs that is not on record.

    `queue_name` is Kueue's queue, if it admits the pods; `annotations` are those of the record.
    """
    return [
        controller_revision(deployment, revision, annotations),
        engine_deployment(deployment, revision, replicas, queue_name),
        revision_service(deployment, revision),
        disruption_budget(deployment, revision),
    ]


def controller_revision(
    deployment: ModelDeployment, revision: Revision, annotations: Mapping[str, str]
) -> Object:
    """Record what the revision was made of; the API server lets nobody change its data."""
    metadata = revision_metadata(deployment, revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {**metadata, "annotations": dict(annotations)} if annotations else metadata,
        "data": revision.data(),
        "revision": revision.number,
    }


def engine_deployment(
    deployment: ModelDeployment, revision: Revision, replicas: int, queue_name: str = ""
) -> Object:
    """Run the revision's pods. Only `replicas` ever changes; a restart never takes capacity away first.

    With a `queue_name` Kueue says when they may run.
    """
    queue = {names.KUEUE_QUEUE: queue_name} if queue_name else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": revision_metadata(deployment, revision, **queue),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector_labels(deployment, revision.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": revision.lifecycle.progress_deadline,
            "revisionHistoryLimit": _REVISION_HISTORY,
            "template": revision.pod_template,
        },
    }


def revision_service(deployment: ModelDeployment, revision: Revision) -> Object:
    """Give the revision an address for the route to weigh."""
    return _service(deployment, revision_metadata(deployment, revision), revision.name)


def stable_service(deployment: ModelDeployment, stable: str) -> Object:
    """Give callers inside the cluster one name that follows the stable revision."""
    return _service(deployment, owned_metadata(deployment, deployment.metadata.name), stable)


def disruption_budget(deployment: ModelDeployment, revision: Revision) -> Object:
    """Let a node drain take one pod at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": revision_metadata(deployment, revision),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector_labels(deployment, revision.name)},
        },
    }


def selector_labels(deployment: ModelDeployment, revision: str) -> dict[str, str]:
    """Labels that tell one revision's pods from all others in the namespace."""
    return {names.DEPLOYMENT: deployment.metadata.name, names.REVISION: revision}


def owned_metadata(deployment: ModelDeployment, name: str, **labels: str) -> Object:
    """Metadata of a child: its labels, and the owner whose deletion the garbage collector follows."""
    owner = deployment.metadata
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE, names.DEPLOYMENT: owner.name, **labels},
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": "ModelDeployment",
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            },
        ],
    }


def revision_metadata(deployment: ModelDeployment, revision: Revision, **labels: str) -> Object:
    """Metadata of a child that belongs to one revision."""
    name = names.child_name(deployment.metadata.name, revision.name)
    return owned_metadata(deployment, name, **{names.REVISION: revision.name}, **labels)


def _service(deployment: ModelDeployment, metadata: Object, revision: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": selector_labels(deployment, revision),
            "ports": [
                {
                    "name": names.ENGINE_PORT_NAME,
                    "port": SERVICE_PORT,
                    "protocol": "TCP",
                    "targetPort": names.ENGINE_PORT_NAME,
                },
            ],
        },
    }
