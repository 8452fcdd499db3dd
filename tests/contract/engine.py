"""An engine under contract: a process of vllm-sim or of the real vLLM, started with the same flags."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.real_vllm import paths
from harness.real_vllm.settings import ENVIRONMENT

TESTS = Path(__file__).resolve().parent.parent
START_SECONDS = 400
# Enough for a CPU to serve it at once.
COMMON_FLAGS = ("--dtype", "float32", "--enforce-eager")


@dataclass(frozen=True)
class Kind:
    """How one of the two engines is started."""

    name: str
    command: tuple[str, ...]
    model: str
    environment: Mapping[str, str] = field(default_factory=dict)


SIM = Kind(
    name="sim",
    command=(sys.executable, "-m", "harness.vllm_sim"),
    model="tiny/qwen2-code",
)
VLLM = Kind(
    name="vllm",
    command=(str(paths.venv() / "bin" / "vllm"),),
    model=str(paths.model()),
    environment={
        **ENVIRONMENT,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": "1",
    },
)
KINDS = {kind.name: kind for kind in (SIM, VLLM)}


@dataclass(frozen=True)
class Ended:
    """How an engine's process ended: its exit code and what it wrote to stdout and stderr together."""

    code: int
    output: str


class Engine:
    """A started process that listens, or will, on `url`."""

    def __init__(
        self, kind: Kind, flags: Sequence[str], log: Path, wrapper: Sequence[str] = (), model: str = ""
    ) -> None:
        """Start the process; `wrapper` is a command that runs the rest of its own command line.

        The model is the kind's own unless another is named.
        """
        port = str(_free_port())
        self.model = model or kind.model
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        command = [
            *wrapper,
            *kind.command,
            "serve",
            self.model,
            "--host",
            "127.0.0.1",
            "--port",
            port,
            *flags,
        ]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(kind),
            )

    @property
    def pid(self) -> int:
        """Id of the serving process, and of the group of all its children."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Return once /health answers 200; raise RuntimeError with the log's end if that never comes."""
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the engine did not become ready: {self.output()[-2000:]}")
            time.sleep(0.1)

    def terminate(self) -> None:
        """Send SIGTERM to the serving process, as the kubelet does."""
        self._process.send_signal(signal.SIGTERM)

    def wait_ended(self, seconds: float = START_SECONDS) -> Ended:
        """Return how the process ended; raise subprocess.TimeoutExpired if it does not in time."""
        code = self._process.wait(seconds)
        return Ended(code, self.output())

    def output(self) -> str:
        """Return what the process has written so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End the process and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def _environment(kind: Kind) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TESTS), **kind.environment}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
