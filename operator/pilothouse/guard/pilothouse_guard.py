"""The guard: an ASGI middleware inside the engine's process, loaded by `--middleware=pilothouse_guard.Guard`.

One file, standard library only, Python 3.10 or newer, since it runs in the engine's image. docs/guard.md says
what it does.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]


class Scanner:
    """Finds credentials in a text by rules of the form of credentials.json."""

    def __init__(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Compile the rules; raises KeyError or re.error for one that is none."""
        self._rules = [(rule["kind"], re.compile(rule["pattern"]), tuple(rule["literals"])) for rule in rules]

    def kinds(self, text: str) -> dict[str, int]:
        """Count the credentials of each kind; what they are is told to nobody."""
        folded = text.lower()
        found: dict[str, int] = {}
        for kind, pattern, literals in self._rules:
            if literals and not any(literal in folded for literal in literals):
                continue
            hits = sum(1 for _ in pattern.finditer(text))
            if hits:
                found[kind] = found.get(kind, 0) + hits
        return found
