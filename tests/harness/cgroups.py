"""One cgroup holds every process of the cluster, so that the kernel knows them all, whoever lost them.

Version 1 has a hierarchy for each controller, version 2 one for all; the group has the same name in each. Its
processes go before those that look at them: where the whole cluster has no more of the cores than one session
beside it, engines stand still for longer than their probes may fail.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from harness.shell import HarnessError, wait_for

NAME = "pilothouse"
MOUNT = Path("/sys/fs/cgroup")
WEIGHTS = {"cpu.shares": 8 * 1024, "cpu.weight": 8 * 100}
"""Eight times the usual, by the file that each version has for it."""


def hierarchies() -> list[Path]:
    """Return the roots of the cgroup hierarchies mounted on this machine."""
    return sorted(
        path.parent
        for path in (*MOUNT.glob("cgroup.procs"), *MOUNT.glob("*/cgroup.procs"))
        if path.parent.is_mount()
    )


def create(name: str = "") -> list[Path]:
    """Make the cluster's cgroup, or the one `name` inside it, and return its folder in each hierarchy.

    Raises:
        HarnessError: cgroups cannot be written here.

    """
    folders = [root / NAME / name for root in hierarchies()]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for root in hierarchies():
            _pass_on_controllers(root)
            _pass_on_controllers(root / NAME)
            _go_first(root / NAME)
    except OSError as error:
        raise HarnessError(f"This machine does not let the harness make cgroups: {error}.") from error
    if not folders:
        raise HarnessError(f"No cgroup hierarchy is mounted under {MOUNT}.")
    return folders


def joinable(folders: list[Path]) -> list[Path]:
    """Leave out `cpuset` of version 1: it takes no process before it is given processors."""
    return [folder for folder in folders if folder.relative_to(MOUNT).parts[0] != "cpuset"]


def pids(name: str = "") -> set[int]:
    """Return the processes in the cluster's cgroup, or in `name` inside it, and in all below."""
    return {
        pid
        for root in hierarchies()
        for file in (root / NAME / name).rglob("cgroup.procs")
        for pid in _read(file)
    }


def kill_all() -> None:
    """End every process of the cluster, and take its cgroups away."""
    wait_for("the cluster's processes to end", _killed, seconds=30)
    wait_for("the cluster's cgroups to go", _removed, seconds=30)


def exists() -> bool:
    """Tell whether there is anything of the cluster's cgroup."""
    return any((root / NAME).is_dir() for root in hierarchies())


def _pass_on_controllers(folder: Path) -> None:
    """Let the children of a cgroup of version 2 have the controllers that it has itself."""
    available = folder / "cgroup.controllers"
    if available.exists():
        names = available.read_text().split()
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))


def _go_first(folder: Path) -> None:
    """Give a cgroup more of the cores than others get, where its hierarchy shares them out."""
    for name, weight in WEIGHTS.items():
        if (folder / name).exists():
            (folder / name).write_text(str(weight))


def _killed() -> bool:
    left = pids()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


def _removed() -> bool:
    for folder in _deepest_first():
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not exists()


def _deepest_first() -> Iterator[Path]:
    for root in hierarchies():
        for folder, _, _ in os.walk(root / NAME, topdown=False):
            yield Path(folder)


def _read(file: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from map(int, file.read_text().split())
