"""Where vLLM finds a model when the hub may not be asked: in the cache, as the snapshot of its revision."""

import os
from pathlib import Path

_TRUE = {"1", "ON", "YES", "TRUE"}


def located(model: str, revision: str | None) -> str:
    """Return the folder of a model by its name on the hub, if HF_HUB_OFFLINE is set; else what was given.

    Raises huggingface_hub's LocalEntryNotFoundError where the cache lacks it; it ends the engine, as in vLLM.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() not in _TRUE or Path(model).exists():
        return model
    # An engine that needs no hub need not spend the time that this import takes.
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    return snapshot_download(model, revision=revision, local_files_only=True, ignore_patterns="*")
