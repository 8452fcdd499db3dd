"""Where a pod's containers find the files that they are given: paths, volumes and mounts, in one place."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from pilothouse import names
from pilothouse.plan.observed import Object

FOLDER: Final = "/etc/pilothouse"
KEY_FOLDER: Final = "/etc/pilothouse-key"
RUN_FOLDER: Final = "/run/pilothouse"
"""Where the fetch leaves its manifest for the engine's container."""

FETCH: Final = "pilothouse_fetch.py"
SETTINGS: Final = "settings.json"
GUARD: Final = "pilothouse_guard.Guard"
"""The class that vLLM loads; it finds the module by PYTHONPATH."""

VOLUME: Final = "pilothouse"


def mounts() -> list[Object]:
    """Return the mounts of both containers, in the order of `volumes`."""
    return [
        # A folder, not single files: the kubelet never updates a file that is mounted alone.
        {"name": VOLUME, "mountPath": FOLDER, "readOnly": True},
        {"name": "prompt-key", "mountPath": KEY_FOLDER, "readOnly": True},
        {"name": "run", "mountPath": RUN_FOLDER},
    ]


def volumes(config_map: str) -> list[Object]:
    """Return the volumes behind the mounts; a namespace needs no Secret with a key."""
    return [
        {"name": VOLUME, "configMap": {"name": config_map}},
        {"name": "prompt-key", "secret": {"secretName": names.PROMPT_KEY_SECRET, "optional": True}},
        {"name": "run", "emptyDir": {}},
    ]


def code_of(data: Mapping[str, str]) -> dict[str, str]:
    """Return what in the ConfigMap is frozen with the revision: all but the settings."""
    return {name: text for name, text in data.items() if name != SETTINGS}


def digest_of(files: Mapping[str, str]) -> str:
    """Digest of files by name, as a revision's record holds it."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def has_files(pod_template: Object) -> bool:
    """Tell a template that mounts the ConfigMap from one that an operator without guard rendered."""
    return any(volume["name"] == VOLUME for volume in pod_template["spec"].get("volumes", ()))
