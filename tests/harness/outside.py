"""The operator as a process of this machine, where it can be measured and killed.

It runs under the ServiceAccount of the chart, which is installed with no replicas: RBAC is the real one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness.hub_service import CHART_VALUE, ENDPOINT
from harness.kubectl import kubectl, tool
from harness.metrics import parse
from harness.paths import REPOSITORY
from harness.processes import beside
from harness.shell import run, succeeds, wait_for

NAMESPACE = "pilothouse-system"
CHART = REPOSITORY / "charts/pilothouse"
TOKEN_HOURS = 6


class Process:
    """One operator process after another, each with the identity of the one before.

    So a new one takes up the Lease of the killed one at once, as a restarted container does.
    """

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self._kubeconfig = kubeconfig
        self._log = log
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, its output going to the end of the log."""
        settings = {"NAMESPACE": NAMESPACE, "IDENTITY": "outside", "HUB_ENDPOINT": ENDPOINT}
        settings["HTTP_PORT"] = str(self._port)
        environment = os.environ | {f"PILOTHOUSE_{name}": value for name, value in settings.items()}
        environment |= {"KUBECONFIG": str(self._kubeconfig), "PYTHONPATH": str(REPOSITORY / "operator")}
        with self._log.open("ab") as log:
            argv = beside([sys.executable, "-m", "pilothouse"])
            self._process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def wait_leading(self, seconds: float = 60) -> None:
        """Wait until it holds the Lease and works."""
        wait_for("the operator to lead", self.is_leading, seconds=seconds, pause=0.05)

    def is_leading(self) -> bool:
        """Tell whether it holds the Lease."""
        return self.metric("pilothouse_leader") == 1

    def is_ready(self) -> bool:
        """Tell whether /readyz says so."""
        return self._ask("/readyz") is not None

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as the kubelet does, and return its exit status."""
        return self._end(signal.SIGTERM)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, 0 where it does not answer."""
        return parse(self._ask("/metrics") or "").value(name, **labels)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_megabytes(self) -> float:
        """Return its resident memory in MB (10**6 bytes)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def pid(self) -> int:
        """Id of the process that runs."""
        if self._process is None:
            raise RuntimeError("the operator was not started")
        return self._process.pid

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(timeout=60)

    def _ask(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return None


@contextmanager
def operator(kubeconfig: Path, folder: Path) -> Iterator[Process]:
    """Give an operator that is not started yet; in the end it is killed and the chart is as it was."""
    with _chart_without_pods(kubeconfig):
        process = Process(_account(kubeconfig, folder), folder / "operator.log")
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _chart_without_pods(kubeconfig: Path) -> Iterator[None]:
    helm = [tool("helm"), "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]
    found = succeeds([*helm, "status", "pilothouse"])
    upgrade = [*helm, "upgrade", "--install", "pilothouse", str(CHART), CHART_VALUE]
    install = [*upgrade, "--create-namespace", "--wait"]
    run([*install, "--set=replicas=0"])
    kubectl(kubeconfig, "--namespace", NAMESPACE, "delete", "lease", "pilothouse", "--ignore-not-found")
    yield
    if found:
        run([*install, "--set=replicas=2"])
    else:
        run([*helm, "uninstall", "pilothouse", "--wait"])


def _account(kubeconfig: Path, folder: Path) -> Path:
    """Write a kubeconfig with a token of the chart's ServiceAccount."""
    raw = kubectl(kubeconfig, "config", "view", "--raw", "--minify", "--output=json")
    token = kubectl(
        kubeconfig, "--namespace", NAMESPACE, "create", "token", "pilothouse", f"--duration={TOKEN_HOURS}h"
    )
    config = json.loads(raw)
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token.strip()}}]
    path = folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
