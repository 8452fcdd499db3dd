"""The pins of a model, and how they stand in a manifest."""

from dataclasses import dataclass
from typing import Final

from pilothouse.errors import PilothouseError

CLAIM: Final = "pvc://CLAIM/PATH"
"""Stands in for what a folder can't tell; the API server refuses it as it is."""

_NO_BREAKS: Final = {ord("\n"): " ", ord("\r"): " "}


class NoPins(PilothouseError):  # noqa: N818 -- it is what came of it
    """The pins could not be found; the message says why, in the hub's words and by the fetch's reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """The pins of a model, and what a person should know of them; None is what could not be told."""

    source: str
    revision: str
    license_id: str | None
    text_digest: str | None
    fingerprint: str | None
    warnings: tuple[str, ...] = ()


def block(found: Found, asked: str) -> str:
    """Write `spec.model`; a license that could not be told is empty, which the API server refuses."""
    lines = [
        f"# {asked}".translate(_NO_BREAKS),
        "model:",
        "  checkpoint:",
        f"    source: {found.source}",
        f"    revision: {found.revision}",
        "  tokenizer:",
        f"    revision: {found.revision}",
        *([f"    fingerprint: {found.fingerprint}"] if found.fingerprint else []),
        "  license:",
        f"    id: {found.license_id}" if found.license_id else '    id: ""',
        *([f"    textDigest: {found.text_digest}"] if found.text_digest else []),
    ]
    return "\n".join(lines) + "\n"
