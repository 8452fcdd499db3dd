"""What was verified as text: a table of pods and below it all that does not agree, or JSON."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from pilothouse.cli.asking import Examined
from pilothouse.cli.output import table
from pilothouse.cli.verify import Check, Verdict, verdict_of

VERSION: Final = 1
"""Of the JSON form. A field may be added under the same version; none is renamed or removed."""

_PODS: Final = ("NAMESPACE", "DEPLOYMENT", "REVISION", "POD", "SERVES", "VERDICT", "AGREES")
_CHECKS: Final = ("POD", "CHECK", "VERDICT", "EXPECTED", "ACTUAL", "MESSAGE")
_EXIT_CODES: Final = {Verdict.DIFFERS: 1, Verdict.NOT_ASKED: 2}


def exit_code(pods: Sequence[Examined]) -> int:
    """Return 0 where nothing differs, 1 where something does, 2 where a pod could not be asked."""
    return _EXIT_CODES.get(verdict_of(check for pod in pods for check in pod.checks), 0)


def as_table(pods: Sequence[Examined]) -> str:
    """Write it for a terminal."""
    if not pods:
        return "No running pods.\n"
    sections = [table(_PODS, map(_cells, pods))]
    if found := [*_findings(pods)]:
        sections.append(table(_CHECKS, found))
    return "\n\n".join(sections) + "\n"


def as_json(pods: Sequence[Examined]) -> str:
    """Write it for scripts."""
    document = {
        "version": VERSION,
        "verdict": verdict_of(check for pod in pods for check in pod.checks),
        "pods": [asdict(pod) | {"verdict": verdict_of(pod.checks)} for pod in pods],
    }
    return json.dumps(document, indent=2) + "\n"


FORMS: Final[Mapping[str, Callable[[Sequence[Examined]], str]]] = {"table": as_table, "json": as_json}


def _cells(pod: Examined) -> tuple[str, ...]:
    agrees = sum(check.verdict is Verdict.AGREES for check in pod.checks)
    serves = "yes" if pod.serves else "no"
    counted = f"{agrees} of {len(pod.checks)}"
    return (pod.namespace, pod.deployment, pod.revision, pod.pod, serves, verdict_of(pod.checks), counted)


def _findings(pods: Sequence[Examined]) -> Iterator[tuple[str, ...]]:
    for pod in pods:
        for check in pod.checks:
            if check.verdict is not Verdict.AGREES:
                yield (pod.pod, *_finding(check))


def _finding(check: Check) -> tuple[str, ...]:
    return (check.name, check.verdict, check.expected, check.actual, check.message)
