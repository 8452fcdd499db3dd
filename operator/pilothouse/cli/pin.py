"""`pilothouse pin`: prints the block `spec.model` of a manifest, so that nobody types hashes."""

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from pilothouse.cli.pins import Found, NoPins, block

_SOURCE: Final = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<ref>.+))?")
_DEFAULT_REF: Final = "main"


def add(words: argparse.ArgumentParser) -> None:
    """Say what the subcommand takes."""
    words.add_argument("source", help="hf://owner/name[@branch, tag or commit], or a folder for pvc://")
    words.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    found = _found(arguments.source)
    sys.stdout.write(block(found, arguments.source))
    for warning in found.warnings:
        sys.stderr.write(f"pilothouse: {warning}\n")
    return 0


def _found(source: str) -> Found:
    hub = _SOURCE.fullmatch(source)
    if not hub and not Path(source).is_dir():
        raise NoPins(f"{source} is neither hf://owner/name[@ref] nor a folder")
    pins = _hubpins()
    if not hub:
        folder: Found = pins.pins_of_folder(Path(source))
        return folder
    endpoint = os.environ.get("HF_ENDPOINT") or None
    found: Found = pins.pins_at_hub(hub["repository"], hub["ref"] or _DEFAULT_REF, endpoint)
    return found


def _hubpins() -> ModuleType:
    """Load what needs the extra."""
    try:
        return importlib.import_module("pilothouse.cli.hubpins")
    except ModuleNotFoundError as error:
        raise NoPins(f"{error.name} is not installed; run: pip install 'pilothouse[pin]'") from error
