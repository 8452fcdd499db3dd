"""Traefik as a second gateway: the Gateway `traefik`, beside the Gateway `models`.

A cluster starts without it; the tests that look at it bring it and take it away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import builds, cluster, images, services
from harness.kubectl import get, kubectl
from harness.paths import HARNESS
from harness.shell import progress

MANIFEST = HARNESS / "manifests" / "traefik.yaml"
GATEWAY = "traefik"
"""The Gateway's name, in the namespace `gateways`."""


@contextmanager
def installed(kubeconfig: Path) -> Iterator[str]:
    """Have Traefik serve the Gateway `traefik` while the block runs; gives its base URL.

    Its CustomResourceDefinitions go with it, and the Middlewares with them.

    Raises:
        HarnessError: a part could not be built, or did not become ready.

    """
    definitions = [f"--filename={file}" for file in builds.traefik_crds()]
    cluster.add(images.traefik())
    manifest = MANIFEST.read_text().replace("type: ClusterIP", f"type: {cluster.service_type()}")
    try:
        with progress("installing Traefik"):
            kubectl(kubeconfig, "apply", "--server-side", *definitions)
            kubectl(kubeconfig, "apply", "--server-side", "--filename=-", stdin=manifest)
            _wait_ready(kubeconfig)
        yield _url(kubeconfig)
    finally:
        kubectl(kubeconfig, "delete", "--ignore-not-found", "--filename=-", stdin=manifest)
        kubectl(kubeconfig, "delete", "--ignore-not-found", *definitions)


def _wait_ready(kubeconfig: Path) -> None:
    waiting = ("wait", "--timeout=120s")
    kubectl(kubeconfig, *waiting, "--namespace=traefik", "--for=condition=Available", "deployment/traefik")
    kubectl(kubeconfig, *waiting, "--namespace=gateways", "--for=condition=Programmed", f"gateway/{GATEWAY}")


def _url(kubeconfig: Path) -> str:
    [service] = get(kubeconfig, "services", "--namespace=traefik", "--field-selector=metadata.name=traefik")
    return services.url(kubeconfig, service)
