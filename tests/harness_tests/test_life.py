"""A cluster starts over whatever is there, serves pods, and goes without a trace."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cgroups, components, firewall, network, node, processes
from harness.kubectl import get, kubectl
from harness.paths import KUBECONFIG
from harness.shell import HarnessError, run, wait_for
from harness_tests.footprint import Footprint, footprint

TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS)}
KILLED = ("kube-apiserver", "kubelet", "containerd")
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: probe}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {}}]}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  containers:
    - name: probe
      image: pilothouse.dev/pause:1
      resources: {limits: {nvidia.com/gpu: 1}}
      volumeMounts:
        - {name: memory, mountPath: /memory}
        - {name: image, mountPath: /image}
  volumes:
    - {name: memory, emptyDir: {medium: Memory}}
    - {name: image, image: {reference: "pilothouse.dev/pause:1"}}
"""


def _run_pod() -> None:
    wait_for("the service account", lambda: bool(get(KUBECONFIG, "serviceaccounts", "--namespace=default")))
    kubectl(KUBECONFIG, "apply", "--filename=-", stdin=POD)
    kubectl(KUBECONFIG, "wait", "--for=condition=Ready", "pod/probe", "--timeout=30s")


@pytest.mark.usefixtures("running")
def test_a_cluster_that_served_a_pod_leaves_no_trace(before: Footprint) -> None:
    _run_pod()
    assert footprint() != before
    node.stop()
    assert footprint() == before


@pytest.mark.usefixtures("running")
def test_the_cluster_goes_before_what_else_this_machine_does() -> None:
    """Else a busy machine stops engines for longer than their probes may fail."""
    shares = [found for root in cgroups.hierarchies() for found in _shares_in(root)]
    assert shares
    assert all(ours >= 4 * others for ours, others in shares)


@pytest.mark.usefixtures("running")
def test_what_tests_start_beside_the_cluster_has_its_share_and_goes_with_it() -> None:
    with subprocess.Popen(processes.beside(["sleep", "60"])) as started:
        wait_for("it to be a part of the cluster", lambda: started.pid in cgroups.pids("beside"))
        node.stop()
        assert started.wait(timeout=10) == -signal.SIGKILL


def test_without_a_cluster_a_command_is_left_as_it_is() -> None:
    node.stop()
    assert processes.beside(["true"]) == ["true"]


@pytest.mark.usefixtures("running")
def test_removing_what_is_gone_does_nothing(before: Footprint) -> None:
    node.stop()
    node.stop()
    assert footprint() == before


@pytest.mark.usefixtures("running")
def test_a_cluster_whose_every_component_was_killed_leaves_no_trace(before: Footprint) -> None:
    _run_pod()
    for component in components.components():
        processes.kill(component.name)
    node.stop()
    assert footprint() == before


@pytest.mark.usefixtures("running")
def test_a_firewall_goes_and_leaves_the_cluster_as_it_was() -> None:
    _run_pod()
    with firewall.enforcing():
        kubectl(KUBECONFIG, "apply", "--filename=-", stdin=POLICY)
        wait_for("a policy's rules", lambda: any("KUBE-SRC-" in name for name in _firewall()))
    assert not _firewall()
    assert not processes.pids(firewall.NAME)
    assert node.is_running()


@pytest.mark.usefixtures("running")
def test_a_firewall_whose_test_was_killed_goes_with_the_cluster(before: Footprint) -> None:
    _run_pod()
    kubectl(KUBECONFIG, "apply", "--filename=-", stdin=POLICY)
    program = "import signal; from harness import firewall\nwith firewall.enforcing(): signal.pause()"
    enforcing = subprocess.Popen([sys.executable, "-c", program], env=ENVIRONMENT)
    wait_for("a policy's rules", lambda: any("KUBE-SRC-" in name for name in _firewall()))
    enforcing.kill()
    enforcing.wait()
    node.stop()
    assert footprint() == before


@pytest.mark.usefixtures("running")
def test_a_cluster_starts_over_the_remains_of_a_killed_one() -> None:
    _run_pod()
    for name in KILLED:
        processes.kill(name)
    assert not node.is_running()
    node.start()
    assert node.is_running()
    assert get(KUBECONFIG, "pods", "--all-namespaces") == []


def test_a_start_that_was_killed_half_way_leaves_no_trace(before: Footprint) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-c", "from harness import node; node.start()"], env=ENVIRONMENT
    )
    wait_for("the API server", lambda: bool(processes.pids("kube-apiserver")))
    starting.kill()
    starting.wait()
    node.stop()
    assert footprint() == before


@pytest.mark.usefixtures("running")
def test_a_pod_outlives_the_components_that_started_it() -> None:
    _run_pod()
    (started,) = _container_ids()
    for name in KILLED:
        processes.kill(name)
        node.start_component(name)
    wait_for("the node to see its pod again", lambda: _container_ids() == [started])
    kubectl(KUBECONFIG, "wait", "--for=condition=Ready", "pod/probe", "--timeout=30s")


@pytest.mark.usefixtures("running")
def test_the_gpus_of_the_node_outlive_its_kubelet() -> None:
    processes.kill("kubelet")
    node.start_component("kubelet")
    _run_pod()


@pytest.mark.usefixtures("before")
def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 12379)), pytest.raises(HarnessError, match="12379"):
        node.start()
    node.stop()


def test_without_root_it_says_what_it_needs_in_one_sentence() -> None:
    program = "import os; from harness.__main__ import main; os.setuid(65534); raise SystemExit(main(['up']))"
    environment = {"PYTHONPATH": str(TESTS), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith(f"harness needs root{node.WHY}\n")
    assert done.stderr.count("\n") == 1


def _shares_in(root: Path) -> list[tuple[int, int]]:
    """Return what the cluster's cgroup has of the cores, and what any other would have beside it."""
    other = root / "beside-the-cluster"
    other.mkdir()
    try:
        files = [name for name in cgroups.WEIGHTS if (other / name).exists()]
        return [(_number(root / cgroups.NAME / name), _number(other / name)) for name in files]
    finally:
        other.rmdir()


def _number(file: Path) -> int:
    return int(file.read_text())


def _container_ids() -> list[str]:
    pods = get(KUBECONFIG, "pods", "--namespace=default")
    return [status["containerID"] for pod in pods for status in pod["status"]["containerStatuses"]]


def _firewall() -> list[str]:
    """Return what kube-router has written into the kernel."""
    chains = re.findall(f"^:({network.FIREWALL_CHAINS}.*?) ", run(["iptables-save"]), re.MULTILINE)
    return chains + network.FIREWALL_SETS.findall(run(["ipset", "list", "-name"]))
