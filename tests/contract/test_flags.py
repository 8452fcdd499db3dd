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
    "an ambiguous abbreviation": ("--max-num-queued", "3"),
}
OUT_OF_RANGE = {
    ("--max-num-seqs", "0"): "Input should be greater than or equal to 1",
    ("--gpu-memory-utilization", "2"): "Input should be less than or equal to 1",
    ("--shutdown-timeout", "-1"): "Input should be greater than or equal to 0",
}


@pytest.fixture
def recording(pytestconfig: pytest.Config) -> Recording:
    return Recording("flags", writing=pytestconfig.getoption("--record"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_command_line_ends_as_recorded(
    name: str, start: Callable[..., Engine], recording: Recording
) -> None:
    ended = start(*REFUSED[name]).wait_ended()
    last = re.sub("0x[0-9a-f]+", "0x0", ended.output.strip().splitlines()[-1])
    recording.check(name, {"code": ended.code, "last": last})


@pytest.mark.parametrize("flag", OUT_OF_RANGE, ids=lambda flag: flag[0])
def test_a_value_out_of_range_ends_the_engine_with_its_bound(
    flag: tuple[str, str], start: Callable[..., Engine]
) -> None:
    ended = start(*flag).wait_ended()
    assert ended.code == 1
    assert OUT_OF_RANGE[flag] in ended.output


def test_a_middleware_that_does_not_exist_ends_the_engine(start: Callable[..., Engine]) -> None:
    ended = start("--middleware", "contract.nowhere.Nothing").wait_ended()
    assert ended.code == 1
    assert re.search(r"ModuleNotFoundError|ImportError|AttributeError", ended.output)
