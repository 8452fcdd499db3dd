"""Tables, CSV and pins as text."""

import csv
import io

import pytest

from pilothouse.cli.output import comma_separated, short, table


def test_columns_are_aligned_and_empty_cells_marked() -> None:
    assert table(("NAME", "LICENSE"), [("qwen-coder", ""), ("x", "MIT")]).splitlines() == [
        "NAME        LICENSE",
        "qwen-coder  -",
        "x           MIT",
    ]


def test_a_table_of_nothing_is_its_header() -> None:
    assert table(("NAME", "LICENSE"), []) == "NAME  LICENSE"


def test_a_cell_can_not_steer_the_terminal() -> None:
    assert "\x1b" not in table(("TICKET",), [("\x1b[2JLEGAL-1\n",)])


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_a_spreadsheet_computes_no_cell(cell: str) -> None:
    (row,) = csv.reader(io.StringIO(comma_separated((cell,), [])), strict=True)
    assert row == [cell]

    _, inert = csv.reader(
        io.StringIO(
            comma_separated(
                ("TICKET",),
                [(cell,)],
            ),
            newline="",
        )
    )
    assert inert == [f"'{cell}"]


def test_what_stands_in_csv_is_read_back() -> None:
    cells = ['a "quoted", cell', "LEGAL-1", "Apache-2.0 OR MIT", "two\nlines"]

    _, read = csv.reader(io.StringIO(comma_separated(["a", "b", "c", "d"], [cells]), newline=""))
    assert read == cells


@pytest.mark.parametrize(
    ("pin", "shown"), [("c0" * 20, "c0c0c0c0c0c0"), ("sha256:" + "ab" * 32, "sha256:abababababab"), ("", "")]
)
def test_pins_are_shortened(pin: str, shown: str) -> None:
    assert short(pin) == shown
