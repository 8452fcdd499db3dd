"""A single-node Kubernetes as processes on this Linux machine: its start, and its end without a trace."""

import contextlib
import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path

from harness import cgroups, host, network, pki, processes
from harness.components import ADDRESSES, NODE, SERVER, SERVER_NAMES, SOCKET, components, write_configuration
from harness.kubectl import get
from harness.paths import BIN, KUBECONFIG, STATE
from harness.shell import HarnessError, run, wait_for

PROGRAMS = (
    "conntrack",
    "etcd",
    "host-local",
    "ip",
    "iptables",
    "mmdebstrap",
    "openssl",
    "runc",
)
# Where clients on this machine find the Gateway.
SERVICE_TYPE = "ClusterIP"
NEEDS = "With no KUBECONFIG, and no kind with a Docker engine, the harness needs"
WHY = ": it starts Kubernetes as processes of this machine."


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
    host.remember()
    host.forward_packets()
    network.create()
    for address in ADDRESSES:
        wait_for(f"{address} to be free", partial(_is_free, address), seconds=5)
    cgroups.create()
    pki.create(SERVER, SERVER_NAMES, NODE)
    write_configuration()
    _start_components()
    _write_kubeconfig()
    wait_for("the node to be Ready", _is_node_ready)


def stop() -> None:
    """End the cluster and take away everything that it made on this machine, as far as it is there."""
    cgroups.kill_all()
    host.restore()
    network.remove()
    for folder in (STATE, KUBECONFIG.parent):
        if folder.exists():
            shutil.rmtree(folder)


def is_running() -> bool:
    """Tell whether every component runs and answers, be it late: a busy machine is slow."""
    if not all(processes.pids(component.name) for component in components()):
        return False
    try:
        for component in components():
            processes.wait_ready(component)
    except HarnessError:
        return False
    return KUBECONFIG.exists()


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
    run([BIN / "ctr", "--address", SOCKET, "--namespace", "k8s.io", "images", "import", archive])


def _is_free(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(address)
            return True
    return False


def _start_components() -> None:
    etcd, containerd, apiserver, *others = components()
    for component in (etcd, containerd, apiserver):
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
