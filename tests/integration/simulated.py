"""Engines of vllm-sim as processes at addresses of loopback, all on one port, as pods are."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.processes import beside

TESTS = Path(__file__).resolve().parent.parent
NOTHING: Mapping[str, str] = {}
_START_SECONDS = 60
_FLAGS = ("--dtype", "float32", "--enforce-eager")


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Simulated:
    """A process of vllm-sim, ready."""

    def __init__(
        self, address: str, port: int, *flags: str, environment: Mapping[str, str] = NOTHING
    ) -> None:
        self._url = f"http://{address}:{port}"
        argv = (
            *(sys.executable, "-m", "harness.vllm_sim", "serve", "tiny/qwen2-code"),
            *("--host", address, "--port", str(port)),
            *_FLAGS,
            *flags,
        )
        self._process = subprocess.Popen(
            beside(argv),
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TESTS), "VLLM_SIM_LOAD_SECONDS": "0", **environment},
        )

    def wait_ready(self) -> None:
        """Return once /health answers; raise TimeoutError if that never comes."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_healthy():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._url} did not become ready")
            time.sleep(0.05)

    def break_(self, **faults: Any) -> None:
        """Let exactly this be wrong from now on; nothing to mend it."""
        request = urllib.request.Request(  # noqa: S310 -- our own process
            f"{self._url}/sim/faults",
            data=json.dumps(faults).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 -- the same

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _is_healthy(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._url}/health", timeout=5).close()  # noqa: S310 -- the same
        except urllib.error.URLError:
            return False
        return True
