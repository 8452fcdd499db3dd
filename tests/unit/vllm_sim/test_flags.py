"""The command line: the flags of the recorded help, vLLM's number forms, and its way to refuse."""

import argparse

import pytest

from harness.vllm_sim import flags


def parse(*arguments: str) -> argparse.Namespace:
    return flags.parse(["serve", "some/model", *arguments])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_every_flag_of_the_table_can_be_declared_and_has_its_default() -> None:
    args = parse()
    declared = {name.lstrip("-").replace("-", "_") for flag in flags.flags() for name in flag.names[:1]}
    assert declared <= vars(args).keys()
    assert (args.port, args.max_model_len, args.gpu_memory_utilization) == (8000, None, 0.92)


@pytest.mark.parametrize(
    ("text", "number"), [("1024", 1024), ("1k", 1000), ("1K", 1024), ("25.6k", 25_600), ("auto", -1)]
)
def test_a_context_length_may_be_written_for_humans(text: str, number: int) -> None:
    assert parse("--max-model-len", text).max_model_len == number


def test_a_fraction_of_a_binary_unit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean to use 1.5k instead?" in refusal(capsys, "--max-model-len", "1.5K")


def test_underscores_and_abbreviations_are_understood() -> None:
    assert parse("--max_model_len=7", "--tensor-par", "2").max_model_len == 7


def test_json_may_be_given_key_by_key() -> None:
    args = parse("--override-generation-config.max_new_tokens", "32", "--override-generation-config.x.y=a")
    assert args.override_generation_config == {"max_new_tokens": 32, "x": {"y": "a"}}


def test_a_boolean_has_two_flags() -> None:
    assert parse("--no-enable-prefix-caching").enable_prefix_caching is False
    assert parse("--enable-prefix-caching").enable_prefix_caching is True


def test_a_middleware_may_be_named_more_than_once() -> None:
    assert parse("--middleware", "a.B", "--middleware", "c.D").middleware == ["a.B", "c.D"]


def test_an_optimization_level_may_stick_to_its_letter() -> None:
    assert parse("-O3").optimization_level == 3


def test_the_deprecated_model_flag_is_the_positional() -> None:
    assert flags.parse(["serve", "--model", "some/model", "--port", "9000"]).model_tag == "some/model"


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--foo") == "vllm: error: unrecognized arguments: --foo"


def test_a_wrong_choice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument --dtype: invalid choice: 'float7'" in refusal(capsys, "--dtype", "float7")


def test_broken_json_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Value { cannot be converted" in refusal(capsys, "--override-generation-config", "{")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags.parse(["--version"])
    assert capsys.readouterr().out == "0.32.0\n"
