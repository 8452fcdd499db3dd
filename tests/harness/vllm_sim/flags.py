"""The command line of `vllm serve`: every flag of flags.json, read as vLLM reads it.

A flag may be spelled with underscores, shortened, or, if it takes JSON, be given key by key (`--x.key
value`). What is wrong ends the process with argparse's exit code 2 and message, as with vLLM. Flags about a
model's insides, about GPUs and about several engines are checked and then change nothing.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from harness.vllm_sim import VLLM_VERSION

COMMANDS = "chat complete serve launch bench collect-env download-kernels preload run-batch snapshot"
DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
JsonObject = dict[str, Any]


def human_readable_int(value: str) -> int:
    """Read `1k` as 1000, `1K` as 1024, `25.6k` as 25600; a plain number as itself."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", value.strip())
    if match is None:
        return int(value)
    number, suffix = match.groups()
    if suffix in DECIMAL:
        return int(float(number) * DECIMAL[suffix])
    if "." in number:
        raise argparse.ArgumentTypeError(
            f"Decimals are not allowed with binary suffixes like {suffix}. "
            f"Did you mean to use {number}{suffix.lower()} instead?"
        )
    return int(number) * BINARY[suffix]


def human_readable_int_or_auto(value: str) -> int:
    """Read `auto` and `-1` as -1, and what human_readable_int reads."""
    return -1 if value.strip().lower() in {"-1", "auto"} else human_readable_int(value)


def parsed_json(value: str) -> object:
    """Read JSON, or complain as vLLM does, with the address of a function."""
    try:
        return json.loads(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"Value {value} cannot be converted to {json.loads}.") from error


READERS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "json": parsed_json,
    "human_readable_int": human_readable_int,
    "human_readable_int_or_auto": human_readable_int_or_auto,
}


@dataclass(frozen=True)
class Flag:
    """One row of flags.json."""

    names: Sequence[str]
    group: str
    kind: str
    default: object
    type: str = "str"
    nargs: str | None = None
    choices: Sequence[str] | None = None

    def add_to(self, group: "argparse._ArgumentGroup") -> None:
        """Declare the flag."""
        if self.kind == "switch":
            group.add_argument(*self.names, action="store_true")
        elif self.kind == "boolean":
            group.add_argument(*self.names, action=argparse.BooleanOptionalAction, default=self.default)
        elif self.kind == "append":
            group.add_argument(*self.names, action="append", default=[])
        else:
            group.add_argument(*self.names, **self._value())

    def _value(self) -> JsonObject:
        reader = READERS[self.type]
        arguments: JsonObject = {"type": reader, "default": self.default}
        if self.nargs:
            arguments["nargs"] = self.nargs
        if self.choices:
            arguments["choices"] = [reader(choice) for choice in self.choices]
        return arguments


def flags() -> list[Flag]:
    """Every flag of `vllm serve` but --help."""
    return [
        Flag(**row) for row in json.loads(resources.files(__package__).joinpath("flags.json").read_text())
    ]


def parser() -> argparse.ArgumentParser:
    """The parser of `vllm` with its one served command; the other commands are only names here."""
    top = argparse.ArgumentParser(prog="vllm", description="vLLM CLI")
    top.add_argument("-v", "--version", action="version", version=VLLM_VERSION)
    commands = top.add_subparsers(dest="command")
    for command in COMMANDS.split():
        sub = commands.add_parser(command, usage=f"vllm {command} [model_tag] [options]")
        if command == "serve":
            _declare(sub)
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a whole command line after `vllm`; exits with 2 and a message if it is wrong."""
    return parser().parse_args(_joined_keys([_dashes(argument) for argument in _model_first(arguments)]))


def _declare(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("model_tag", nargs="?")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for flag in flags():
        if flag.group not in groups:
            groups[flag.group] = serve.add_argument_group(flag.group)
        flag.add_to(groups[flag.group])


def _model_first(arguments: Sequence[str]) -> list[str]:
    """Replace the deprecated `serve --model M` by `serve M`."""
    args = list(arguments)
    for index, argument in enumerate(args):
        if args[0] == "serve" and argument == "--model" and index + 1 < len(args):
            return ["serve", args[index + 1], *args[1:index], *args[index + 2 :]]
    return args


def _dashes(argument: str) -> str:
    """Spell a flag with dashes up to its first dot or equals sign; -O3 as --optimization-level=3."""
    if re.fullmatch(r"-O=?\w+", argument):
        return f"--optimization-level={argument[2:].removeprefix('=')}"
    if argument == "--help=all" or not argument.startswith("--"):
        return argument.removesuffix("=all")
    name = re.match(r"--[^.=]*", argument)
    return name[0].replace("_", "-") + argument[name.end() :] if name else argument


def _joined_keys(arguments: Sequence[str]) -> list[str]:
    """Gather `--x.a.b 1 --x.c 2` into `--x {"a": {"b": 1}, "c": 2}` at the end."""
    kept: list[str] = []
    objects: dict[str, JsonObject] = {}
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if not (name.startswith("--") and "." in name):
            kept.append(argument)
            continue
        flag, *keys = name.split(".")
        _put(objects.setdefault(flag, {}), keys, _literal(value or next(rest, "")))
    for flag, gathered in objects.items():
        kept += [flag, json.dumps(gathered)]
    return kept


def _put(target: JsonObject, keys: Sequence[str], value: object) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
    target[keys[-1]] = value


def _literal(text: str) -> object:
    for read in (json.loads, human_readable_int):
        try:
            return read(text)
        except (ValueError, argparse.ArgumentTypeError):
            continue
    return text
