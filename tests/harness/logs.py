"""Reading logs that are still being written."""

import json
from typing import Any

Object = dict[str, Any]


def lines(text: str) -> list[str]:
    """Return the lines that have an end: of the last one a reader may have met the beginning alone."""
    return text.split("\n")[:-1]


def records(text: str) -> list[Object]:
    """Return the objects of a log that holds one on each line."""
    return [json.loads(line) for line in lines(text)]


def generations(text: str) -> list[Object]:
    """Return what the guard has told of each generation, among the other lines of an engine's log."""
    return [json.loads(line) for line in lines(text) if line.startswith('{"event":"generation"')]
