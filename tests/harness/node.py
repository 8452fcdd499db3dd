"""A single-node Kubernetes as processes on this Linux machine: its start, and its end without a trace."""

import contextlib
import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path

from harness import cgroups, network, pki, processes
from harness.components import ADDRESSES, NODE, SERVER, SERVER_NAMES, SOCKET, components, write_configuration
from harness.kubectl import get
from harness.paths import KUBECONFIG, STATE
from harness.shell import run, wait_for

# Where clients on this machine find the Gateway.
SERVICE_TYPE = "ClusterIP"
NEEDS = "With no KUBECONFIG, and no kind with a Docker engine, the harness needs"
WHY = ": it starts Kubernetes as processes of this machine."
CONTAINER_LOG_LINKS = Path("/var/log/containers")
SHIM_ADDRESSES = "run/containerd/io.containerd.runtime.v2.task/k8s.io/*/address"


def refusal() -> str:
    """Return in one sentence why this machine cannot run the cluster, or "" when it can."""
    if not sys.platform.startswith("linux"):
        return f"{NEEDS} Linux{WHY}"
    if os.geteuid() != 0:
        return f"{NEEDS} root{WHY}"
    return ""


def start() -> None:
    """Start the cluster over whatever an earlier one left.

    Raises:
        HarnessError: a port is taken or a component did not become ready.

    """
    stop()
    STATE.mkdir(parents=True)
    network.create()
    for address in ADDRESSES:
        wait_for(f"{address} to be free", partial(_is_free, address), seconds=20)
    cgroups.create()
    pki.create(SERVER, SERVER_NAMES, NODE)
    write_configuration()
    _start_components()
    _write_kubeconfig()
    wait_for("the node to be Ready", _is_node_ready)


def stop() -> None:
    """End the cluster and take away everything that it made on this machine, as far as it is there."""
    cgroups.kill_all()
    _remove_shim_sockets()
    _unmount()
    network.remove()
    _remove_container_log_links()
    for folder in (STATE, KUBECONFIG.parent):
        if folder.exists():
            shutil.rmtree(folder)


def is_running() -> bool:
    """Tell whether every component runs and answers."""
    return all(status().values())


def status() -> dict[str, bool]:
    """Return for each component whether it runs and answers."""
    return {component.name: processes.is_ready(component) for component in components()}


def start_component(name: str) -> None:
    """Start a component that was stopped or killed, and wait until it is ready.

    Raises:
        KeyError: there is no such component.
        HarnessError: it did not become ready.

    """
    component = {component.name: component for component in components()}[name]
    processes.start(component)
    processes.wait_ready(component)


def load(archive: Path) -> None:
    """Give the node the image in an OCI archive."""
    run(["ctr", "--address", SOCKET, "--namespace", "k8s.io", "images", "import", archive])


def _is_free(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(address)
            return True
    return False


def _start_components() -> None:
    etcd, apiserver, *others = components()
    for component in (etcd, apiserver):
        start_component(component.name)
    for component in others:
        processes.start(component)
    for component in others:
        processes.wait_ready(component)


def _write_kubeconfig() -> None:
    KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(pki.kubeconfig("admin").read_text())


def _is_node_ready() -> bool:
    conditions = [
        condition for node in get(KUBECONFIG, "nodes") for condition in node["status"].get("conditions", [])
    ]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _remove_shim_sockets() -> None:
    """Remove the shims' sockets: they are in /run/containerd/s whatever containerd's own state folder is."""
    for file in STATE.glob(SHIM_ADDRESSES):
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _unmount() -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if Path(mount).is_relative_to(STATE)]):
        run(["umount", "--lazy", mount])


def _remove_container_log_links() -> None:
    """Remove the links that every kubelet makes for log collectors, whatever `podLogsDir` says."""
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(STATE):
            link.unlink()
    if CONTAINER_LOG_LINKS.exists() and not any(CONTAINER_LOG_LINKS.iterdir()):
        CONTAINER_LOG_LINKS.rmdir()
