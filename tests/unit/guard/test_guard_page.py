"""The page about the guard tells what the code does."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from harness.paths import REPOSITORY
from pilothouse.guard import pilothouse_guard as guard
from pilothouse.guard.pilothouse_guard import Answer, Generation

PAGE = (REPOSITORY / "docs/guard.md").read_text()
CODE_IN = {"Refusal": 1, "invalid": 2, "_busy": 0}
"""Where the code of an error stands among the arguments of what makes one."""


def _codes() -> Iterator[str]:
    for node in ast.walk(ast.parse(Path(guard.__file__).read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for argument in node.args[CODE_IN.get(name, len(node.args)) :][:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def test_each_error_is_explained_and_no_other() -> None:
    table = PAGE.partition("<!-- errors -->")[2].partition("<!-- end of errors -->")[0]
    cells = [row.split("|")[2] for row in table.splitlines() if row.startswith("| ")]
    explained = [code for cell in cells for code in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted({*_codes(), *chain(*guard.USED_UP.values()), "invalid_value"})


@pytest.mark.parametrize("name", sorted({*guard.NOT_FOR_CLIENTS, *guard.REFUSED}))
def test_each_field_that_a_client_may_not_set_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_each_field_of_the_log_line_is_explained() -> None:
    async def send(_: object) -> None:
        pass

    key = guard.Key(guard.Watched("", guard.parse_key, guard.Log()))
    line = Generation("/v1/completions", "1", Answer(send, []), {}).line(key)
    table = PAGE.partition("## The log line")[2].partition("\n## ")[0]
    assert [field for field in line if f"`{field}`" not in table] == []


def test_the_number_of_rules_is_right() -> None:
    rules = json.loads(Path(guard.__file__).with_name("credentials.json").read_text())
    assert f"\n{len(rules)} rules are in " in PAGE
