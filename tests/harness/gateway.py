"""Envoy Gateway and the Gateway `models`, the same on every cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import builds, images, services
from harness.kubectl import get, kubectl, tool
from harness.paths import HARNESS
from harness.shell import HarnessError, run, wait_for

MANIFEST = HARNESS / "manifests" / "gateway.yaml"
NAME = "models"
OWNER = "gateway.envoyproxy.io/owning-gateway"


def install(kubeconfig: Path, service_type: str) -> None:
    """Install Envoy Gateway and wait until the Gateway `models` answers for its address.

    Args:
        kubeconfig: names the cluster, whose nodes have the harness's images.
        service_type: of Envoy's Service: ClusterIP, or NodePort where only nodes can be reached.

    """
    install_chart(kubeconfig)
    manifest = MANIFEST.read_text().replace("type: ClusterIP", f"type: {service_type}")
    kubectl(kubeconfig, "apply", "--server-side", "--filename=-", stdin=manifest)
    wait_for("Envoy to be ready", lambda: is_ready(kubeconfig), seconds=120, pause=0.5)


def url(kubeconfig: Path, name: str = NAME) -> str:
    """Return the base URL of a Gateway in `gateways`, reachable from this machine.

    Raises:
        HarnessError: the cluster has no such Gateway.

    """
    found = _owned(kubeconfig, "services", name)
    if not found:
        raise HarnessError(f"The cluster has no Gateway `{name}` of Envoy Gateway.")
    return services.url(kubeconfig, found[0])


def is_ready(kubeconfig: Path, name: str = NAME) -> bool:
    """Tell whether an Envoy of a Gateway in `gateways` is ready."""
    deployments = _owned(kubeconfig, "deployments", name)
    return any(deployment["status"].get("readyReplicas") for deployment in deployments)


def _owned(kubeconfig: Path, kind: str, name: str) -> list[dict[str, Any]]:
    return get(kubeconfig, kind, "--namespace=envoy-gateway-system", f"--selector={selector(name)}")


def selector(name: str = NAME) -> str:
    """Return the label selector of what Envoy Gateway makes for a Gateway in `gateways`."""
    return f"{OWNER}-name={name},{OWNER}-namespace=gateways"


def install_chart(kubeconfig: Path, more: Mapping[str, str] | None = None) -> None:
    """Install Envoy Gateway, or have it run with `more` values of its chart and with no others."""
    chart = builds.chart()
    values = {
        "global.images.envoyGateway.image": images.GATEWAY,
        "global.images.envoyGateway.pullPolicy": "IfNotPresent",
        "topologyInjector.enabled": "false",
    }
    settings = [f"--set={name}={value}" for name, value in (values | dict(more or {})).items()]
    release = ("upgrade", "--install", "envoy-gateway", chart, "--namespace=envoy-gateway-system")
    options = ("--create-namespace", f"--values={chart}/values.tmpl.yaml", "--wait", "--timeout=3m")
    run([tool("helm"), "--kubeconfig", kubeconfig, *release, *options, *settings])
