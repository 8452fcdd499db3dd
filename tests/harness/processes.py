"""Starting and stopping components: each in a cgroup of its own, detached from whoever started it."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from harness import cgroups, pki
from harness.components import Component
from harness.paths import BIN, STATE
from harness.shell import GARBAGE, HarnessError, wait_for

LOGS = STATE / "logs"
COMM_LENGTH = 15
ENVIRONMENT = {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(STATE)} | GARBAGE
# Joins the cgroups given up to the `--`, then becomes the program behind it.
JOIN_AND_EXEC = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


def start(component: Component) -> None:
    """Start a component, its output going to LOGS, and return at once."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{component.name}.log").open("a") as log:
        argv = ["setsid", "--fork", *_within(f"system/{component.name}", component.argv)]
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=STATE, env=ENVIRONMENT, check=True
        )


def beside(argv: Sequence[str]) -> list[str]:
    """Return the command that has a part in the cluster's share of the cores, where there is a cluster.

    For what tests start beside it: it would leave them next to nothing. What is started so goes with it.
    """
    return _within("beside", argv) if cgroups.exists() else [*argv]


def wait_ready(component: Component, seconds: float = 60) -> None:
    """Wait until the component answers; a component that nothing asks for is ready when it runs.

    Raises:
        HarnessError: it ended or did not answer; the end of its log is in the message.

    """
    name = component.name
    try:
        wait_for(f"{name} to start", lambda: bool(pids(name)), seconds=5, pause=0.02)
        wait_for(
            f"{name} to be ready", lambda: is_ready(component) or not pids(name), seconds=seconds, pause=0.05
        )
    except HarnessError as error:
        raise HarnessError(f"{error} The end of its log: {last_words(name)}") from error
    if not pids(name):
        raise HarnessError(f"{name} ended. The end of its log: {last_words(name)}")


def is_ready(component: Component) -> bool:
    """Tell whether the component runs and answers."""
    if not pids(component.name):
        return False
    if component.url.startswith("unix://"):
        return _takes_connections(component.url.removeprefix("unix://"))
    return not component.url or _answers(component.url)


def stop(name: str) -> None:
    """End a component as `kill` does, and as `kill -9` does when that takes over 10 s."""
    _signal(name, signal.SIGTERM)
    try:
        wait_for(f"{name} to end", lambda: not pids(name), seconds=10)
    except HarnessError:
        kill(name)


def kill(name: str) -> None:
    """End a component as `kill -9` does."""
    _signal(name, signal.SIGKILL)
    wait_for(f"{name} to end", lambda: not pids(name), seconds=10)


def pids(name: str) -> set[int]:
    """Return the component's own processes, not those that it started (such as containerd's shims)."""
    return {pid for pid in cgroups.pids(f"system/{name}") if _comm(pid) == name[:COMM_LENGTH]}


def last_words(name: str, lines: int = 5) -> str:
    """Return the end of a component's log."""
    log = LOGS / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "none"


def _within(cgroup: str, argv: Sequence[str]) -> list[str]:
    """Return the command that joins a cgroup of the cluster and then becomes the one given."""
    folders = cgroups.joinable(cgroups.create(cgroup))
    return ["sh", "-c", JOIN_AND_EXEC, "sh", *map(str, folders), "--", *argv]


def _signal(name: str, number: signal.Signals) -> None:
    for pid in pids(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _takes_connections(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(path)
        return True
    return False


def _answers(url: str) -> bool:
    try:
        trust = ssl.create_default_context(cafile=pki.FOLDER / "ca.crt")
        with urllib.request.urlopen(url, timeout=2, context=trust) as answer:  # noqa: S310 - a URL of components.py
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
