"""Envoy Gateway and the Gateway `models`, the same on every cluster."""

from collections.abc import Mapping
from pathlib import Path

from harness import builds, images, services
from harness.kubectl import get, kubectl, tool
from harness.paths import HARNESS
from harness.shell import HarnessError, run, wait_for

MANIFEST = HARNESS / "manifests" / "gateway.yaml"
OWNED = (
    "gateway.envoyproxy.io/owning-gateway-name=models,gateway.envoyproxy.io/owning-gateway-namespace=gateways"
)


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


def url(kubeconfig: Path) -> str:
    """Return the base URL of the Gateway `models`, reachable from this machine.

    Raises:
        HarnessError: the cluster has no such Gateway.

    """
    found = get(kubeconfig, "services", "--namespace=envoy-gateway-system", f"--selector={OWNED}")
    if not found:
        raise HarnessError("The cluster has no Gateway `models` of Envoy Gateway.")
    return services.url(kubeconfig, found[0])


def is_ready(kubeconfig: Path) -> bool:
    """Tell whether an Envoy of the Gateway `models` is ready."""
    deployments = get(kubeconfig, "deployments", "--namespace=envoy-gateway-system", f"--selector={OWNED}")
    return any(deployment["status"].get("readyReplicas") for deployment in deployments)


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
