"""The bridge that is the node's address and the pods' gateway, and the way back to the network as it was."""

import json
import re
from pathlib import Path

from harness.paths import STATE
from harness.shell import HarnessError, run, succeeds, wait_for

BRIDGE = "ph0"
NODE_IP = "10.244.0.1"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
CNI = STATE / "cni"
CHAINS_ARE_OURS = STATE / "chains-are-ours"
SETS_ARE_OURS = STATE / "sets-are-ours"
KUBERNETES = "KUBE-"
FIREWALL_CHAINS = "KUBE-(?:ROUTER|POD-FW|NWPLCY)-"
"""What the names of kube-router's chains begin with."""
FIREWALL_SETS = re.compile("(?:KUBE-(?:SRC|DST)|TMP)-[A-Z2-7]{16}")
"""How kube-router names its sets of addresses."""


def create() -> None:
    """Make the bridge and tell containerd's CNI plugins about it.

    Raises:
        HarnessError: another Kubernetes, whose rules would mix with this one's, runs on this machine.

    """
    if "KUBE-" in run(["iptables-save"]):
        raise HarnessError(
            "Another Kubernetes has its iptables rules on this machine; stop it, or name it in KUBECONFIG."
        )
    CHAINS_ARE_OURS.touch()
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "add", f"{NODE_IP}/16", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    # A machine without a default route could not call a Service otherwise.
    run(["ip", "route", "add", SERVICES, "dev", BRIDGE])
    CNI.mkdir()
    (CNI / "10-pilothouse.conflist").write_text(json.dumps(_cni_config()))


def remove() -> None:
    """Undo create() and take away what the components added, as far as it is there."""
    if CHAINS_ARE_OURS.exists():
        remove_firewall()
        _remove_chains("iptables", KUBERNETES)
        _remove_chains("ip6tables", KUBERNETES)
    if Path("/sys/class/net", BRIDGE).exists():
        for interface in _attached():
            run(["ip", "link", "delete", interface])
        run(["ip", "link", "delete", BRIDGE])


def remove_firewall() -> None:
    """Take away the chains and the sets of addresses that kube-router made, as far as they are there."""
    _remove_chains("iptables", FIREWALL_CHAINS)
    if SETS_ARE_OURS.exists():
        # The kernel lets go of a set some time after the last rule that names it.
        wait_for("kube-router's sets of addresses to go", _destroyed, seconds=10)


def _destroyed() -> bool:
    sets = filter(FIREWALL_SETS.fullmatch, run(["ipset", "list", "-name"]).split())
    return all(succeeds(["ipset", "destroy", name]) for name in sets)


def _attached() -> list[str]:
    """Return the interfaces on the bridge: the host's ends of the pods' pairs."""
    links = json.loads(run(["ip", "-json", "link", "show", "master", BRIDGE]) or "[]")
    return [link["ifname"] for link in links]


def _cni_config() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(STATE / "addresses"),
        "ranges": [[{"subnet": PODS, "rangeStart": "10.244.1.0", "gateway": NODE_IP}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pilothouse", "plugins": [bridge]}


def _remove_chains(program: str, prefix: str) -> None:
    """Take away chains and the rules that lead to them, in one transaction for each table."""
    saved = run([f"{program}-save"])
    for table, text in re.findall(r"^\*(\w+)\n(.*?)^COMMIT", saved, re.MULTILINE | re.DOTALL):
        chains = re.findall(rf"^:({prefix}\S+)", text, re.MULTILINE)
        jumps = re.findall(rf"^-A ((?!{prefix}).* -j {prefix}.*)$", text, re.MULTILINE)
        if not chains:
            continue
        lines = [f"*{table}", *(f"-D {rule}" for rule in jumps)]
        lines += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains] + ["COMMIT", ""]
        run([f"{program}-restore", "--noflush"], stdin="\n".join(lines))
