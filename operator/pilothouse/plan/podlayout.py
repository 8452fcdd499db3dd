"""Where a pod's containers find the files that they are given: paths, volumes and mounts, in one place."""

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

MOUNTS: Final[tuple[Object, ...]] = (
    # A folder, not single files: the kubelet never updates a file that is mounted alone.
    {"name": VOLUME, "mountPath": FOLDER, "readOnly": True},
    {"name": "prompt-key", "mountPath": KEY_FOLDER, "readOnly": True},
    {"name": "run", "mountPath": RUN_FOLDER},
)


def volumes(config_map: str) -> list[Object]:
    """Return the volumes behind MOUNTS; a namespace needs no Secret with a key."""
    return [
        {"name": VOLUME, "configMap": {"name": config_map}},
        {"name": "prompt-key", "secret": {"secretName": names.PROMPT_KEY_SECRET, "optional": True}},
        {"name": "run", "emptyDir": {}},
    ]


def has_files(pod_template: Object) -> bool:
    """Tell a template that mounts the ConfigMap from one that an operator without guard rendered."""
    return any(volume["name"] == VOLUME for volume in pod_template["spec"].get("volumes", ()))
