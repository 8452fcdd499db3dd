"""Request rates that all Envoys count together: Redis, and the ratelimit service that Envoy Gateway deploys.

A cluster starts without them; the tests and benchmarks that look at them bring them and take them away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import builds, cluster, gateway, images
from harness.kubectl import get, kubectl
from harness.paths import HARNESS
from harness.shell import progress, wait_for

MANIFEST = HARNESS / "manifests" / "redis.yaml"
SERVICE = "envoy-ratelimit"
"""The Deployment of the ratelimit service, as Envoy Gateway names it."""
CONFIG = "config.envoyGateway"
CONTAINER = f"{CONFIG}.provider.kubernetes.rateLimitDeployment.container"
VALUES = {
    f"{CONFIG}.rateLimit.backend.type": "Redis",
    f"{CONFIG}.rateLimit.backend.redis.url": "redis.redis.svc:6379",
    # By default 20 ms, after which a request passes uncounted: busy cores are not to raise a limit.
    f"{CONFIG}.rateLimit.timeout": "1s",
    f"{CONTAINER}.resources.requests.cpu": "50m",
    f"{CONTAINER}.resources.requests.memory": "64Mi",
    "global.images.ratelimit.image": images.RATE_LIMIT,
    # Envoy Gateway reads its configuration when it starts: another annotation makes another pod.
    "deployment.pod.annotations.rate-limits": "global",
}


@contextmanager
def installed(kubeconfig: Path) -> Iterator[None]:
    """Have Envoy Gateway count for all Envoys together while the block runs.

    Raises:
        HarnessError: a part could not be built, or did not become ready.

    """
    builds.build(builds.RATE_LIMIT)
    cluster.add(*images.rate_limits())
    try:
        with progress("installing Redis and the ratelimit service"):
            kubectl(kubeconfig, "apply", "--server-side", f"--filename={MANIFEST}")
            gateway.install_chart(kubeconfig, VALUES)
            wait_for("the ratelimit service", lambda: is_ready(kubeconfig), seconds=120, pause=0.5)
        yield
    finally:
        gateway.install_chart(kubeconfig)
        wait_for("the ratelimit service to go", lambda: not _found(kubeconfig), seconds=120, pause=0.5)
        kubectl(kubeconfig, "delete", "--ignore-not-found", f"--filename={MANIFEST}")


def is_ready(kubeconfig: Path) -> bool:
    """Tell whether the ratelimit service answers, which it does not without Redis."""
    return any(deployment["status"].get("readyReplicas") for deployment in _found(kubeconfig))


def _found(kubeconfig: Path) -> list[dict[str, Any]]:
    selector = f"--field-selector=metadata.name={SERVICE}"
    return get(kubeconfig, "deployments", "--namespace=envoy-gateway-system", selector)
