"""The bridge that is the node's address and the pods' gateway, and the way back to the network as it was."""

import json
import re
from pathlib import Path

from harness.paths import STATE
from harness.shell import run, succeeds

BRIDGE = "ph0"
NODE_IP = "10.244.0.1"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
CNI = STATE / "cni"
CNI_NETWORK = "pilothouse"
CNI_RESULTS = Path("/var/lib/cni")

# What the kubelet and kube-proxy set on the host.
SETTINGS = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "vm/overcommit_memory",
)
KEPT_SETTINGS = STATE / "settings.json"


def create() -> None:
    """Remember the host's settings, make the bridge and tell containerd's CNI plugins about it."""
    KEPT_SETTINGS.write_text(
        json.dumps({name: _setting(name).read_text() for name in SETTINGS if _setting(name).exists()})
    )
    _setting("net/ipv4/ip_forward").write_text("1")
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "add", f"{NODE_IP}/16", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    CNI.mkdir()
    (CNI / "10-pilothouse.conflist").write_text(json.dumps(_cni_config()))


def remove() -> None:
    """Undo create(), and what the kubelet, kube-proxy and CNI plugins left; what is not there is left out."""
    if KEPT_SETTINGS.exists():
        for name, value in json.loads(KEPT_SETTINGS.read_text()).items():
            _setting(name).write_text(value)
        _remove_rules("iptables")
        _remove_rules("ip6tables")
    if succeeds(["ip", "link", "show", BRIDGE]):
        for interface in _attached():
            run(["ip", "link", "delete", interface])
        run(["ip", "link", "delete", BRIDGE])
    for result in (
        *CNI_RESULTS.glob(f"results/{CNI_NETWORK}-*"),
        *CNI_RESULTS.glob(f"cache/{CNI_NETWORK}-*"),
    ):
        result.unlink()


def _attached() -> list[str]:
    """Return the interfaces on the bridge: the host's ends of the pods' pairs."""
    links = json.loads(run(["ip", "-json", "link", "show", "master", BRIDGE]) or "[]")
    return [link["ifname"] for link in links]


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _cni_config() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(STATE / "addresses"),
        "ranges": [[{"subnet": PODS, "rangeStart": "10.244.1.0", "gateway": NODE_IP}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": CNI_NETWORK, "plugins": [bridge]}


def _remove_rules(program: str) -> None:
    """Take away Kubernetes' chains and the rules that lead to them, in one transaction for each table."""
    saved = run([f"{program}-save"])
    for table, text in re.findall(r"^\*(\w+)\n(.*?)^COMMIT", saved, re.MULTILINE | re.DOTALL):
        chains = re.findall(r"^:(KUBE-\S+)", text, re.MULTILINE)
        jumps = re.findall(r"^-A ((?!KUBE-).* -j KUBE-.*)$", text, re.MULTILINE)
        if not chains:
            continue
        lines = [f"*{table}", *(f"-D {rule}" for rule in jumps)]
        lines += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains] + ["COMMIT", ""]
        run([f"{program}-restore", "--noflush"], stdin="\n".join(lines))
