"""The command line: its words, and what each exit code means.

0: done, or all agrees. 1: refused, or something differs. 2: a wrong command line, or nobody could be asked.
"""

import argparse
import asyncio
import runpy
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kubernetes.aio.config import ConfigException

from pilothouse import __version__
from pilothouse.act.credentials import default_namespace
from pilothouse.cli import doctorforms, pin, reportforms, verifyforms
from pilothouse.cli.asking import examine
from pilothouse.cli.cluster import Cluster, reach
from pilothouse.cli.command import command, key_of_model
from pilothouse.cli.doctor import doctor
from pilothouse.cli.report import report
from pilothouse.errors import NothingToDo, PilothouseError
from pilothouse.names import Verb

_REFUSED: Final = 1
_FAILED: Final = 2

_VERBS: Final = {
    Verb.PROMOTE: "go on to the next step, past a pause, the hold or undecided checks",
    Verb.ABORT: "put all traffic back, and reject the revision",
    Verb.PAUSE: "stay at the current weight; detectors go on",
    Verb.RESUME: "go on after a pause",
    Verb.RETRY: "try a rejected or held revision again",
}

Arguments = argparse.Namespace
Run = Callable[[Cluster, Arguments], Coroutine[None, None, int]]
"""Runs a subcommand on a cluster, and returns its exit code."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one subcommand and exit."""
    arguments = parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
    except NothingToDo as error:
        code = _failed(_REFUSED, error)
    except (PilothouseError, ConfigException) as error:
        code = _failed(_FAILED, error)
    except BrokenPipeError:
        code = _failed(_FAILED, "the reader of the output has gone")
    sys.exit(code)


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    called = Path(sys.argv[0]).name
    root = argparse.ArgumentParser(
        prog="kubectl pilothouse" if called.startswith("kubectl-") else "pilothouse",
        description="Speak of rollouts, report who serves what, verify what pods serve and what limits hold, "
        "pin models.",
    )
    root.add_argument("--version", action="version", version=__version__)
    words = root.add_subparsers(required=True, metavar="COMMAND")
    for verb, help_ in _VERBS.items():
        _add_verb(words.add_parser(verb, help=help_, description=f"{help_.capitalize()}."), verb)
    _add_report(words.add_parser("report", help="who serves what, under which license, since when"))
    _add_verify(words.add_parser("verify", help="ask every running pod what it serves, and compare"))
    _add_doctor(words.add_parser("doctor", help="which limits are held in this cluster, and which are not"))
    pin.add(words.add_parser("pin", help="print the pins of a model for a manifest"))
    operator = words.add_parser("operator", help="run the operator, as its image does")
    operator.set_defaults(run=_run_operator)
    return root


def _add_verb(words: argparse.ArgumentParser, verb: Verb) -> None:
    words.add_argument("name", help="the ModelDeployment")
    words.add_argument("--note", default="", help="why; it stands in the annotation")
    _add_namespace(words)
    words.set_defaults(run=_on_cluster(_say), verb=verb)


def _add_report(words: argparse.ArgumentParser) -> None:
    words.add_argument("--as-of", type=_moment, help="a moment in RFC 3339, from status.history")
    words.add_argument("-o", "--output", choices=reportforms.FORMS, default="table")
    _add_namespace(words).add_argument("-A", "--all-namespaces", action="store_true")
    words.set_defaults(run=_on_cluster(_report))


def _add_verify(words: argparse.ArgumentParser) -> None:
    words.add_argument("name", nargs="?", default="", help="one ModelDeployment; all where it is left out")
    words.add_argument("-o", "--output", choices=verifyforms.FORMS, default="table")
    _add_namespace(words).add_argument("-A", "--all-namespaces", action="store_true")
    words.set_defaults(run=_on_cluster(_verify))


def _add_doctor(words: argparse.ArgumentParser) -> None:
    words.add_argument("-o", "--output", choices=doctorforms.FORMS, default="table")
    _add_context(words)
    words.set_defaults(run=_on_cluster(_doctor))


def _add_context(words: argparse.ArgumentParser) -> None:
    words.add_argument("--context", help="a context of the kubeconfig; its current one by default")


def _add_namespace(words: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    _add_context(words)
    group = words.add_mutually_exclusive_group()
    group.add_argument("-n", "--namespace", help="by default that of the context")
    return group


def _on_cluster(run: Run) -> Callable[[Arguments], int]:
    async def connected(arguments: Arguments) -> int:
        async with reach(arguments.context) as cluster:
            return await run(cluster, arguments)

    return lambda arguments: asyncio.run(connected(arguments))


async def _say(cluster: Cluster, arguments: Arguments) -> int:
    key = key_of_model(_namespace(arguments), arguments.name)
    _print(await command(cluster, key, arguments.verb, arguments.note, _now()) + "\n")
    return 0


async def _report(cluster: Cluster, arguments: Arguments) -> int:
    found = await report(cluster, _namespaces(arguments), _now(), arguments.as_of)
    _print(reportforms.FORMS[arguments.output](found))
    if arguments.output != "json":
        for remark in reportforms.remarks(found):
            _warn(remark)
    return 0


async def _verify(cluster: Cluster, arguments: Arguments) -> int:
    if arguments.name and arguments.all_namespaces:
        raise PilothouseError("a name goes with one namespace, not with all of them")
    pods = await examine(cluster, _namespaces(arguments), arguments.name)
    _print(verifyforms.FORMS[arguments.output](pods))
    return verifyforms.exit_code(pods)


async def _doctor(cluster: Cluster, arguments: Arguments) -> int:
    findings = await doctor(cluster)
    _print(doctorforms.FORMS[arguments.output](findings))
    return doctorforms.exit_code(findings)


def _run_operator(_: Arguments) -> int:
    runpy.run_module("pilothouse", run_name="__main__", alter_sys=True)
    return 0


def _namespaces(arguments: Arguments) -> str:
    return "" if arguments.all_namespaces else _namespace(arguments)


def _namespace(arguments: Arguments) -> str:
    return arguments.namespace or default_namespace(arguments.context)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment such as 2026-11-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; append Z for UTC")
    if moment > _now():
        raise argparse.ArgumentTypeError(f"{text!r} is still to come")
    return moment


def _now() -> datetime:
    return datetime.now(UTC)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _warn(text: object) -> None:
    sys.stderr.write(f"pilothouse: {text}\n")


def _failed(code: int, why: object) -> int:
    _warn(why)
    return code
