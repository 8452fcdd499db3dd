"""Where the engine finds a pinned artifact: by hub name and commit, or at the path of a mount.

`hf://` is loaded by the engine itself, by revision. `pvc://` and `oci://` are mounted read-only, and the
engine is given the path.
"""

from dataclasses import dataclass
from typing import Final

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.values import Scheme, Source
from pilothouse.plan.observed import Object

MOUNT_ROOT: Final = "/mnt"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One pinned artifact; `role` is `checkpoint` or `tokenizer` and names its volume."""

    role: str
    source: Source
    revision: str

    @property
    def is_hub(self) -> bool:
        """Whether the engine loads it from the hub, by revision."""
        return self.source.scheme is Scheme.HF

    @property
    def location(self) -> str:
        """What the engine is given: a hub name, or a path in its container."""
        return self.source.location if self.is_hub else f"{MOUNT_ROOT}/{self.role}"

    def volume(self) -> Object:
        """Volume of the claim or of the image."""
        if self.source.scheme is Scheme.OCI:
            reference = f"{self.source.location}@{self.revision}"
            return {"name": self.role, "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}
        claim = {"claimName": self.source.claim, "readOnly": True}
        return {"name": self.role, "persistentVolumeClaim": claim}

    def mount(self) -> Object:
        """Mount of that volume in the engine."""
        mount = {"name": self.role, "mountPath": self.location, "readOnly": True}
        if self.source.scheme is Scheme.PVC and self.source.path:
            return {**mount, "subPath": self.source.path}
        return mount


def checkpoint_of(deployment: ModelDeployment) -> Artifact:
    """Return the checkpoint that the spec pins."""
    checkpoint = deployment.spec.model.checkpoint
    return Artifact("checkpoint", checkpoint.source, checkpoint.revision)


def tokenizer_of(deployment: ModelDeployment) -> Artifact:
    """Return the tokenizer that the spec pins; without a source of its own it lies beside the checkpoint."""
    model = deployment.spec.model
    return Artifact("tokenizer", model.tokenizer.source or model.checkpoint.source, model.tokenizer.revision)


def mounted(deployment: ModelDeployment) -> list[Artifact]:
    """Those of the two that are volumes."""
    return [
        artifact for artifact in (checkpoint_of(deployment), tokenizer_of(deployment)) if not artifact.is_hub
    ]
