"""The command line as people run it: a process with a kubeconfig and a hub."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = "from pilothouse.cli.main import main; main()"

Said = subprocess.CompletedProcess[str]


def pilothouse(kubeconfig: Path, hub_url: str, *argv: str) -> Said:
    """Run `pilothouse` as the cluster's admin, and return how it ended."""
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HF_ENDPOINT": hub_url}
    command = [sys.executable, "-c", SOURCE, *argv]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
