"""What a cluster could leave on a machine, to be compared before and after."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import host
from harness.paths import KUBECONFIG, STATE

PROGRAMS = re.compile(r"kube-|kubelet|etcd|containerd|coredns|pause|runc")
PLACES = (
    STATE,
    KUBECONFIG.parent,
    *host.FOLDERS,
    *(Path(path) for path in ("/etc/cni", "/run/containerd", "/run/netns", "/run/nri", "/var/log/pods")),
)


@dataclass(frozen=True)
class Footprint:
    """Everything on the machine that starting Kubernetes touches."""

    processes: list[str]
    mounts: list[str]
    interfaces: list[str]
    rules: list[str]
    sets: list[str]
    cgroups: list[str]
    settings: dict[str, str]
    files: list[str]


def footprint() -> Footprint:
    """Look at the machine as it is now."""
    return Footprint(
        processes=sorted(filter(PROGRAMS.search, _running())),
        mounts=sorted(Path("/proc/self/mounts").read_text().splitlines()),
        interfaces=sorted(path.name for path in Path("/sys/class/net").iterdir()),
        rules=[
            line
            for line in _lines("iptables-save")
            if line.startswith("-A") or "KUBE" in line or "CNI" in line
        ],
        sets=_lines("ipset", "list", "-name") if shutil.which("ipset") else [],
        cgroups=sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir()),
        settings={name: path.read_text() for name, path in _settings() if path.exists()},
        files=sorted(str(path) for place in PLACES if place.exists() for path in (place, *place.rglob("*"))),
    )


def _settings() -> list[tuple[str, Path]]:
    return [(name, Path("/proc/sys", name)) for name in host.SETTINGS]


def _running() -> list[str]:
    """Name the processes that run; one that has ended and that its parent has not yet asked about is gone."""
    found = (line.split(maxsplit=1) for line in _lines("ps", "-eo", "stat=,comm="))
    return [name for state, name in found if not state.startswith("Z")]


def _lines(*argv: str) -> list[str]:
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout.splitlines()
