"""What the components change on the machine outside of the harness's own folder, remembered and put back."""

import json
import shutil
from pathlib import Path

from harness.paths import STATE
from harness.shell import HarnessError, run

BRIDGED_PACKETS = "net/bridge/bridge-nf-call-iptables"
# Settings of the kernel that the kubelet, kube-proxy or the harness write.
SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    BRIDGED_PACKETS,
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "vm/overcommit_memory",
)
# Folders that components make whatever their command lines say.
CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOG_LINKS = Path("/var/log/containers")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
# A kubelet that finds nothing beside its socket takes its node for a new one and zeroes the node's GPUs.
NODE_IS_KNOWN = DEVICE_PLUGINS / "pilothouse"
FOLDERS = (
    Path("/usr/libexec/kubernetes"),
    CNI_RESULTS.parent,
    CONTAINER_LOG_LINKS,
    DEVICE_PLUGINS.parent,
)
MEMORY = STATE / "host.json"


def remember() -> None:
    """Note the settings as they are and the folders that are not there."""
    settings = {name: _setting(name).read_text() for name in SETTINGS if _setting(name).exists()}
    absent = [str(folder) for folder in FOLDERS if not folder.exists()]
    unfinished = MEMORY.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"settings": settings, "absent": absent}))
    unfinished.rename(MEMORY)


def restore() -> None:
    """Put back what remember() noted, and take what is ours out of folders that were there before."""
    _unmount()
    _empty_folders()
    if not MEMORY.exists():
        return
    memory = json.loads(MEMORY.read_text())
    for name, value in memory["settings"].items():
        _setting(name).write_text(value)
    for folder in memory["absent"]:
        shutil.rmtree(folder, ignore_errors=True)


def forward_packets() -> None:
    """Let the machine pass packets between pods and its other interfaces."""
    _setting("net/ipv4/ip_forward").write_text("1")


def show_bridged_packets() -> None:
    """Let iptables see what a bridge passes from one pod to another.

    Raises:
        HarnessError: the kernel's module for it is not loaded.

    """
    setting = _setting(BRIDGED_PACKETS)
    if not setting.exists():
        raise HarnessError("iptables can't see what a bridge passes on: `modprobe br_netfilter` comes first.")
    setting.write_text("1")


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _unmount() -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if Path(mount).is_relative_to(STATE)]):
        run(["umount", "--lazy", mount])


def _empty_folders() -> None:
    for result in CNI_RESULTS.glob("*"):
        if str(STATE) in result.read_text(errors="replace"):
            result.unlink()
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(STATE):
            link.unlink()
    shutil.rmtree(NODE_IS_KNOWN, ignore_errors=True)
