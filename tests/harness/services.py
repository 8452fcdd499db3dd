"""Where Services of the cluster answer as seen from this machine."""

from pathlib import Path
from typing import Any

from harness.kubectl import get


def url(kubeconfig: Path, service: dict[str, Any]) -> str:
    """Return the base URL of a Service's first port: at its own address, or at a node's for a NodePort."""
    spec = service["spec"]
    port = spec["ports"][0]
    if spec["type"] == "NodePort":
        return f"http://{_node_address(kubeconfig)}:{port['nodePort']}"
    return f"http://{spec['clusterIP']}:{port['port']}"


def _node_address(kubeconfig: Path) -> str:
    addresses = get(kubeconfig, "nodes")[0]["status"]["addresses"]
    return str(next(address["address"] for address in addresses if address["type"] == "InternalIP"))
