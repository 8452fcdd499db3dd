"""The operator as a process, seen from outside: its probes, metrics and log."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.logs import records
from harness.metrics import parse
from harness.paths import REPOSITORY
from harness.processes import beside
from harness.shell import wait_for
from integration.loop.control_plane import free_port

SHORT = {
    "LEASE_SECONDS": "3",
    "RENEW_DEADLINE_SECONDS": "2",
    "RETRY_SECONDS": "0.5",
    "DISCOVERY_SECONDS": "1",
}
"""Settings that make tests short; what they are by default is for people."""
WRITING = ("apply", "patch_status", "create", "update", "delete")


@dataclass
class OperatorProcess:
    """One replica."""

    kubeconfig: Path
    identity: str
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        """Start it, and return at once."""
        settings = {**SHORT, "IDENTITY": self.identity, "HTTP_PORT": str(self.port), **self.settings}
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PILOTHOUSE_")},
            **{f"PILOTHOUSE_{key}": value for key, value in settings.items()},
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(REPOSITORY / "operator"),
        }
        with self.log.open("ab") as log:
            argv = beside([sys.executable, "-m", "pilothouse"])
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, env=environment, cwd=self.log.parent
            )
        return self

    def wait_ready(self) -> "OperatorProcess":
        """Wait until it has listed what there is."""
        wait_for(f"{self.identity} to be ready", lambda: self.probe("readyz") == 200, seconds=30)
        return self

    def wait_leading(self) -> "OperatorProcess":
        """Wait until it holds the Lease."""
        wait_for(f"{self.identity} to lead", lambda: self.metric("pilothouse_leader") == 1, seconds=30)
        return self

    def kill(self) -> None:
        """End it without a word."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to stop, and return its exit status."""
        return self._signal(signal.SIGTERM)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def probe(self, path: str) -> int:
        """Return the HTTP status of a probe, 0 where nothing answers."""
        try:
            with urllib.request.urlopen(self._url(path), timeout=5) as answer:  # noqa: S310 -- loopback
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metric(self, name: str, **labels: str) -> float:
        """Add up the samples of a metric that carry these labels."""
        return parse(self.metrics()).value(name, **labels)

    def writes(self) -> float:
        """Count the writes to the API server, the Lease aside."""
        requests = partial(parse(self.metrics()).value, "pilothouse_api_requests_total")
        everything = sum(requests(verb=verb) for verb in WRITING)
        return everything - requests(kind="Lease", verb="update")

    def lines(self) -> list[dict[str, Any]]:
        """Read back the log."""
        return records(self.log.read_text())

    def metrics(self) -> str:
        """Return what Prometheus would scrape; empty where nothing answers."""
        try:
            with urllib.request.urlopen(self._url("metrics"), timeout=5) as answer:  # noqa: S310 -- loopback
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def _signal(self, number: int) -> int:
        if not self.process:
            return 0
        self.process.send_signal(number)
        return self.process.wait(timeout=20)
