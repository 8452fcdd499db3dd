import io
import json
import logging as stdlib
from typing import Any

import pytest
import structlog

from pilothouse.telemetry import logging


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read back what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logging.configure("info", stream)
    return stream


def test_a_line_is_one_json_object_with_what_was_bound(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(namespace="team-ide", name="qwen-coder"):
        logging.get_logger("x").info("Applied", reason="Missing")
    (line,) = lines_of(stream)
    assert (line["level"], line["message"], line["namespace"], line["reason"]) == (
        "info",
        "Applied",
        "team-ide",
        "Missing",
    )
    assert list(line)[:3] == ["time", "level", "message"]


def test_libraries_log_the_same_way(stream: io.StringIO) -> None:
    stdlib.getLogger("some.library").warning("beware of %s", "dogs")
    (line,) = lines_of(stream)
    assert (line["logger"], line["message"], line["level"]) == ("some.library", "beware of dogs", "warning")


def test_what_is_below_the_level_is_not_logged(stream: io.StringIO) -> None:
    logging.get_logger("x").debug("Detail")
    stdlib.getLogger("kopf.objects").info("Handler succeeded")
    assert lines_of(stream) == []


def test_an_exception_is_told_without_the_values_of_variables(stream: io.StringIO) -> None:
    def fail(secret: str) -> None:
        raise ValueError(len(secret))

    try:
        fail("hunter" + "2")
    except ValueError:
        logging.get_logger("x").exception("Failed")
    (line,) = lines_of(stream)
    assert "ValueError" in line["exception"]
    assert "hunter2" not in json.dumps(line)
