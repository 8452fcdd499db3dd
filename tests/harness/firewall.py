"""A network that enforces NetworkPolicies: kube-router, of which only the firewall runs.

A cluster starts without it; the tests that look at it bring it and take it away. kube-router writes the whole
filter table of iptables from what it read a moment before, so it can bring back a rule that kube-proxy has
taken away meanwhile, until kube-proxy writes its own again. Other tests are not to meet that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from harness import builds, cgroups, cluster, debian, host, kind, network, pki, processes
from harness.components import NODE, Component
from harness.paths import LOCK
from harness.shell import alone, progress, run, wait_for

NAME = "kube-router"


@contextmanager
def enforcing() -> Iterator[None]:
    """Have NetworkPolicies enforced while the block runs.

    kind's cluster, and one that KUBECONFIG names, must do it by themselves.

    Raises:
        HarnessError: a part could not be installed or built, or did not start.

    """
    if cluster.given() or kind.is_possible():
        yield
        return
    prepare()
    # One may be there still, whose test was killed.
    _remove()
    try:
        _start()
        yield
    finally:
        _remove()


def prepare() -> None:
    """Install and build what this machine lacks, which may take minutes.

    Raises:
        HarnessError: something could not be installed or built.

    """
    with alone(LOCK):
        debian.install(("ipset",))
        builds.build(builds.KUBE_ROUTER)


def _start() -> None:
    host.show_bridged_packets()
    network.SETS_ARE_OURS.touch()
    component = _component()
    with progress("starting kube-router"):
        processes.start(component)
        processes.wait_ready(component)
        wait_for("the firewall before the pods", _is_up)


def _is_up() -> bool:
    return "KUBE-POD-FW-" in run(["iptables-save", "--table=filter"])


def _remove() -> None:
    processes.stop(NAME)
    # It has other programs write its rules.
    wait_for("kube-router's programs to end", lambda: not cgroups.pids(f"system/{NAME}"), seconds=10)
    network.remove_firewall()


def _component() -> Component:
    argv = (
        f"{builds.program(builds.KUBE_ROUTER, NAME)}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--hostname-override={NODE}",
        f"--service-cluster-ip-range={network.SERVICES}",
        f"--kubeconfig={pki.kubeconfig('admin')}",
        # It would listen on all of the machine's interfaces.
        "--health-port=0",
    )
    return Component(NAME, argv)
