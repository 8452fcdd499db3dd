"""Rows as a table, as CSV and as JSON: what people read, what spreadsheets open, what scripts take.

What stands in a cluster was written by many people, so no cell may act: a spreadsheet gets no formula and a
terminal no control character.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA: Final = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a cell a formula at its beginning, in full width too."""
_GAP: Final = "  "


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns as kubectl does; an empty cell is `-`."""
    lines = [tuple(header), *(tuple(_printable(cell) or "-" for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def comma_separated(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write RFC 4180; a cell that a spreadsheet would compute is quoted with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def short(pin: str) -> str:
    """Shorten a commit or digest to what a table has room for."""
    algorithm, colon, digest = pin.rpartition(":")
    return f"{algorithm}{colon}{digest[:12]}"


def _printable(cell: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cell
    )


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
