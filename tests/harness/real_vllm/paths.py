"""Where the real engine lies in the cache folder."""

import os
from pathlib import Path

VERSION = "0.32.0"
MODEL_NAME = "tiny/qwen2-code"
MODEL_REVISION = "5b1de1a7c0dec0dec0dec0dec0dec0dec0dec0de"


def home() -> Path:
    """Return the folder that holds the engine's venv and its model hub."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pilothouse" / f"vllm-{VERSION}"


def venv() -> Path:
    """Return the engine's virtual environment."""
    return home() / "venv"


def hub() -> Path:
    """Return the folder to give the engine as HF_HOME."""
    return home() / "hf"


def model() -> Path:
    """Return the snapshot folder of the tiny model, laid out as a Hugging Face client caches it."""
    repository = "models--" + MODEL_NAME.replace("/", "--")
    return hub() / "hub" / repository / "snapshots" / MODEL_REVISION
