"""The command line as people run it: a process with a kubeconfig and a hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from e2e.manifests import Object

SOURCE = "from pilothouse.cli.main import main; main()"

DIFFERS = 1
"""How `verify` ends where something differs."""

Said = subprocess.CompletedProcess[str]
Pilothouse = Callable[..., Said]


def pilothouse(kubeconfig: Path, hub_url: str, *argv: str) -> Said:
    """Run `pilothouse` as the cluster's admin, and return how it ended."""
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HF_ENDPOINT": hub_url}
    command = [sys.executable, "-c", SOURCE, *argv]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def of_pod(said: Said, part: str) -> Object:
    """What was found of the pod whose name begins so."""
    [found] = [pod for pod in json.loads(said.stdout)["pods"] if pod["pod"].startswith(part)]
    return dict(found)


def findings(pod: Object) -> set[str]:
    """The checks that do not agree."""
    return {check["name"] for check in pod["checks"] if check["verdict"] == "Differs"}
