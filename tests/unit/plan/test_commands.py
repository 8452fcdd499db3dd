"""What a person says of a rollout, by annotation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.names import COMMAND, Verb
from pilothouse.plan.commands import Command, command_of, problem

REVISION = "7f3a9c1d20"


def said(text: str, last_command: str = "") -> Command | None:
    return command_of({"team": "ide", COMMAND: text}, last_command)


@pytest.mark.parametrize("verb", Verb)
def test_a_command_names_its_revision(verb: Verb) -> None:
    text = f"{verb}/{REVISION}"

    assert said(text) == Command(verb, REVISION, text)
    assert problem({COMMAND: text}) is None


def test_a_note_makes_the_same_command_a_new_one() -> None:
    first, second = f"retry/{REVISION}", f"retry/{REVISION}/INC-7: the node was bad, 2/3"

    assert said(second, last_command=first) == Command(Verb.RETRY, REVISION, second)


def test_a_command_is_carried_out_once() -> None:
    text = f"abort/{REVISION}"

    assert said(text, last_command=text) is None


@pytest.mark.parametrize("annotations", [{}, {COMMAND: ""}])
def test_no_command_is_no_problem(annotations: dict[str, str]) -> None:
    assert command_of(annotations, "") is None
    assert problem(annotations) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("abort", "'' is no revision"),
        ("abort/", "'' is no revision"),
        ("abort/qwen-coder-7f3a9c1d20", "'qwen-coder-7f3a9c1d20' is no revision"),
        (f"stop/{REVISION}", "'stop' is none of promote, abort, pause, resume, retry"),
        (f"Abort/{REVISION}", "'Abort' is none of"),
        (f" abort/{REVISION}", "' abort' is none of"),
        (f"abort/{REVISION}\n", "is no revision"),
        (f"abort/{REVISION}/{'x' * 300}", "longer than 256 characters"),
    ],
)
def test_what_does_not_parse_does_nothing_and_is_said(text: str, complaint: str) -> None:
    message = problem({COMMAND: text})

    assert said(text) is None
    assert message
    assert message.startswith("annotation pilothouse.dev/command: ")
    assert complaint in message


@given(st.text(max_size=300))
def test_each_text_is_a_command_or_a_problem_or_nothing(text: str) -> None:
    assert bool(said(text)) + bool(problem({COMMAND: text})) == bool(text)


@given(st.text(min_size=1, max_size=2000))
def test_a_complaint_stays_short(text: str) -> None:
    assert len(problem({COMMAND: text}) or "") < 1000
