"""The NetworkPolicy: who may reach a model's pods at all.

A pod can't tell a gateway's words from those of whoever else reaches it. The kubelet's probes are exempt, and
what the pods themselves ask for, such as their checkpoint, is left as it is.
"""

from collections.abc import Iterable
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.observed import Object
from pilothouse.plan.workload import owned_metadata

_NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"


def network_policy(deployment: ModelDeployment, namespaces: Iterable[str]) -> Object:
    """Let in these namespaces, to the engine's port, and nobody else."""
    peers = {
        "matchExpressions": [{"key": _NAMESPACE_LABEL, "operator": "In", "values": sorted(set(namespaces))}]
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned_metadata(deployment, deployment.metadata.name),
        "spec": {
            "podSelector": {"matchLabels": {names.DEPLOYMENT: deployment.metadata.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"namespaceSelector": peers}],
                    "ports": [{"protocol": "TCP", "port": names.ENGINE_PORT}],
                }
            ],
        },
    }
