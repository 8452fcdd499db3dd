"""A report as text: the table with shortened pins, CSV and JSON with whole ones."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from pilothouse.api.values import rfc3339
from pilothouse.cli.output import comma_separated, short, table
from pilothouse.cli.report import Report, Row

VERSION: Final = 1
"""Of the JSON form. A field may be added under the same version; none is renamed or removed."""

_HEADER: Final = (
    *("NAMESPACE", "DEPLOYMENT", "MODEL", "STATE", "REVISION", "SOURCE", "COMMIT", "TOKENIZER"),
    *("LICENSE", "LICENSE-STATE", "POLICY", "TICKET", "SINCE", "PHASE"),
)
_FIELDS: Final = tuple(
    field.serialization_alias or field.alias or name for name, field in Row.model_fields.items()
)


def as_table(report: Report) -> str:
    """Write it for a terminal."""
    return table(_HEADER, map(_cells, report.rows)) + "\n"


def as_csv(report: Report) -> str:
    """Write it for a spreadsheet; the columns are the fields of the JSON form."""
    rows = (row.model_dump(mode="json", by_alias=True) for row in report.rows)
    cells = ([_text(row[field]) for field in _FIELDS] for row in rows)
    return comma_separated(_FIELDS, cells)


def as_json(report: Report) -> str:
    """Write it for scripts."""
    document = {
        "version": VERSION,
        "asOf": rfc3339(report.as_of),
        "rows": [row.model_dump(mode="json", by_alias=True) for row in report.rows],
        "notes": [note.model_dump(mode="json", by_alias=True) for note in report.notes],
        "limits": report.limits,
    }
    return json.dumps(document, indent=2) + "\n"


FORMS: Final[Mapping[str, Callable[[Report], str]]] = {"table": as_table, "json": as_json, "csv": as_csv}


def remarks(report: Report) -> list[str]:
    """Say what the rows can't: for people, beside a table or CSV."""
    notes = [f"{note.namespace}/{note.deployment}: {note.message}" for note in report.notes]
    return [*notes, *([report.limits] if report.limits else [])]


def _cells(row: Row) -> tuple[str, ...]:
    state = row.state if row.weight is None else f"{row.state} {row.weight}%"
    return (
        *(row.namespace, row.deployment, row.model, state, row.revision, row.checkpoint_source),
        *(short(row.checkpoint_revision), short(row.tokenizer_revision), row.license_id),
        *(row.license_state, row.policy, row.ticket or row.approval),
        rfc3339(row.since) if row.since else "",
        row.phase,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)
