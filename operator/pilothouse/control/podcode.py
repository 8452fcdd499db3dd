"""The code that engine pods are given, read once at start from where it was installed."""

import json
from importlib import resources
from typing import Final

from pilothouse.plan.probes import PROBES

_FILES: Final = ("pilothouse_guard.py", "pilothouse_fetch.py", "credentials.json")


def pod_files() -> dict[str, str]:
    """Return the files by name: what is in `guard/`, and the probe texts."""
    folder = resources.files("pilothouse.guard")
    files = {name: folder.joinpath(name).read_text() for name in _FILES}
    return {**files, "probes.json": json.dumps(PROBES)}
