"""The hub that models are fetched from, as a Deployment and a Service of the cluster."""

from pathlib import Path
from typing import Any

from harness import images, services
from harness.kubectl import get, kubectl
from harness.paths import HARNESS
from harness.shell import HarnessError, wait_for

MANIFEST = HARNESS / "manifests" / "hub.yaml"
ENDPOINT = "http://hub.hub.svc"
"""The hub's address for pods."""
CHART_VALUE = f"--set=hub.endpoint={ENDPOINT}"
"""What the chart is installed with, so that engines fetch from it."""


def apply(kubeconfig: Path, service_type: str) -> None:
    """Let the hub of today's image start, whose nodes have it.

    Args:
        kubeconfig: names the cluster.
        service_type: ClusterIP, or NodePort where only nodes can be reached.

    """
    manifest = MANIFEST.read_text().replace("type: ClusterIP", f"type: {service_type}")
    # The tag is always the same: what is in the image makes another pod of it.
    manifest = manifest.replace("pilothouse.dev/image: unknown", f"pilothouse.dev/image: {_content()}")
    kubectl(kubeconfig, "apply", "--server-side", "--filename=-", stdin=manifest)


def wait_ready(kubeconfig: Path) -> None:
    """Wait until it answers."""
    wait_for("the hub to be ready", lambda: is_ready(kubeconfig), seconds=120, pause=0.5)


def is_ready(kubeconfig: Path) -> bool:
    """Tell whether a hub of today's image, and none of another, is ready."""
    selector = ("--namespace=hub", "--field-selector=metadata.name=hub")
    return any(_is_todays(deployment) for deployment in get(kubeconfig, "deployments", *selector))


def url(kubeconfig: Path) -> str:
    """Return the hub's base URL, reachable from this machine.

    Raises:
        HarnessError: the cluster has no hub.

    """
    found = get(kubeconfig, "services", "--namespace=hub", "--field-selector=metadata.name=hub")
    if not found:
        raise HarnessError("The cluster has no Service `hub` in namespace `hub`.")
    return services.url(kubeconfig, found[0])


def _is_todays(deployment: dict[str, Any]) -> bool:
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    status = deployment.get("status", {})
    if status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    ready = {status.get(count) for count in ("readyReplicas", "updatedReplicas", "replicas")} == {1}
    return ready and annotations["pilothouse.dev/image"] == _content()


def _content() -> str:
    return images.hub().archive.stem
