"""The cluster by kind, where a Docker engine answers."""

import shutil
from pathlib import Path

from harness.paths import KUBECONFIG
from harness.shell import run, succeeds

CLUSTER = "pilothouse"
PROGRAMS = ("mmdebstrap",)
# The node is a container whose address this machine can reach; ClusterIPs are not.
SERVICE_TYPE = "NodePort"


def is_possible() -> bool:
    """Tell whether kind is on PATH and a Docker engine answers."""
    return shutil.which("kind") is not None and succeeds(["docker", "info"])


def refusal() -> str:
    """Return "": what is_possible() asks for is all that kind needs."""
    return ""


def is_running() -> bool:
    """Tell whether the cluster is there."""
    return CLUSTER in run(["kind", "get", "clusters"]).split() and KUBECONFIG.exists()


def status() -> dict[str, bool]:
    """Return whether the cluster is there, as the status of its one part."""
    return {"kind": is_running()}


def start() -> None:
    """Create the cluster anew."""
    stop()
    run(["kind", "create", "cluster", "--name", CLUSTER, "--kubeconfig", KUBECONFIG, "--wait", "120s"])


def stop() -> None:
    """Delete the cluster, if there is one."""
    run(["kind", "delete", "cluster", "--name", CLUSTER])
    shutil.rmtree(KUBECONFIG.parent, ignore_errors=True)


def load(archive: Path) -> None:
    """Give the node the image in an OCI archive."""
    run(["kind", "load", "image-archive", archive, "--name", CLUSTER])
