"""A command line that the engine can't use ends it, with the real engine's exit code and last words."""

import re
from collections.abc import Callable

import pytest

from contract.engine import Engine
from contract.recording import Recording

REFUSED = {
    "an unknown flag": ("--no-such-flag",),
    "an unknown flag with a value": ("--no-such-flag", "3"),
    "a word for a number": ("--max-num-seqs", "many"),
    "a fraction for a whole number": ("--max-num-seqs", "1.5"),
    "a length in no known unit": ("--max-model-len", "1x"),
    "not a choice": ("--kv-cache-dtype", "float7"),
    "not a choice of scheduling": ("--scheduling-policy", "random"),
    "a flag without its value": ("--revision",),
    "a value for a switch": ("--enforce-eager=maybe",),
    "a port that is no number": ("--port", "http"),
    "JSON that isn't": ("--override-generation-config", "{"),
    "an ambiguous abbreviation": ("--max-num", "3"),
}


@pytest.fixture
def recording(pytestconfig: pytest.Config) -> Recording:
    return Recording("flags", writing=pytestconfig.getoption("--record"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_command_line_ends_as_recorded(
    name: str, start: Callable[..., Engine], recording: Recording
) -> None:
    ended = start(*REFUSED[name]).wait_ended()
    recording.check(name, {"code": ended.code, "last": ended.output.strip().splitlines()[-1]})


def test_a_middleware_that_does_not_exist_ends_the_engine(start: Callable[..., Engine]) -> None:
    ended = start("--middleware", "contract.nowhere.Nothing").wait_ended()
    assert ended.code == 1
    assert re.search(r"ModuleNotFoundError|ImportError|AttributeError", ended.output)
