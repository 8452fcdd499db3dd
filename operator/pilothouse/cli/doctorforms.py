"""What the doctor found, as text: a table for people, JSON for scripts."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pilothouse.cli.doctor import Finding, State
from pilothouse.cli.output import table

VERSION: Final = 1
"""Of the JSON form. A field may be added under the same version; none is renamed or removed."""

_HEADER: Final = ("SUBJECT", "WHAT", "STATE", "WHERE", "REASON")


def as_table(findings: Sequence[Finding]) -> str:
    """Write it for a terminal."""
    rows = ((each.subject, each.what, each.state, each.where, each.reason) for each in findings)
    return table(_HEADER, rows) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    """Write it for scripts."""
    found = [each.model_dump(mode="json", by_alias=True) for each in findings]
    return json.dumps({"version": VERSION, "findings": found}, indent=2) + "\n"


FORMS: Final[Mapping[str, Callable[[Sequence[Finding]], str]]] = {"table": as_table, "json": as_json}


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 where something is not held."""
    return int(any(each.state is State.NOT_HELD for each in findings))
