"""What a person says of a rollout, by annotation: `verb/revision` or `verb/revision/note`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilothouse.names import COMMAND, Verb

_VERBS: Final = {verb.value: verb for verb in Verb}
_REVISION: Final = re.compile(r"[0-9a-f]{10}")
_MOST: Final = 256
_SHOWN: Final = 64


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `text` is the whole annotation, so that the same text again is the same command."""

    verb: Verb
    revision: str
    text: str


def command_of(annotations: Mapping[str, str], last_command: str) -> Command | None:
    """Return the command that is still to be carried out; None where there is none, or none that parses."""
    text = annotations.get(COMMAND, "")
    if not text or text == last_command or _flaw(text):
        return None
    verb, revision, *_ = text.split("/", 2)
    return Command(_VERBS[verb], revision, text)


def problem(annotations: Mapping[str, str]) -> str | None:
    """Say what is wrong with a command that does not parse."""
    text = annotations.get(COMMAND, "")
    flaw = _flaw(text) if text else None
    return f"annotation {COMMAND}: {flaw}; write verb/revision" if flaw else None


def _flaw(text: str) -> str | None:
    if len(text) > _MOST:
        return f"longer than {_MOST} characters"
    verb, _, rest = text.partition("/")
    if verb not in _VERBS:
        return f"{verb[:_SHOWN]!r} is none of {', '.join(_VERBS)}"
    revision = rest.partition("/")[0]
    if not _REVISION.fullmatch(revision):
        return f"{revision[:_SHOWN]!r} is no revision (10 hex digits)"
    return None
