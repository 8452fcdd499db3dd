"""How a license expression is taken apart, and how its parts are put together again."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import MalformedExpression
from pilothouse.plan.spdx import (
    Compound,
    Expression,
    Joint,
    License,
    licenses,
    parse,
    strictest,
)

IDS = ("Apache-2.0", "MIT", "LicenseRef-DeepSeek", "GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0+")

leaves = st.sampled_from(IDS).map(License)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda parts: st.builds(
        lambda joint, several: Compound(joint, tuple(several)),
        st.sampled_from(Joint),
        st.lists(parts, min_size=2, max_size=3),
    ),
    max_leaves=8,
)
decisions = st.fixed_dictionaries({each: st.integers(0, 4) for each in IDS})


def written(expression: Expression) -> str:
    """The expression as people write it, with more parentheses than it needs."""
    if isinstance(expression, License):
        return expression.name
    return f" {expression.joint} ".join(f"({written(part)})" for part in expression.parts)


def judged(expression: Expression, decided: Mapping[str, int]) -> int:
    """How strict the whole is, where each license is as strict as decided."""
    return strictest(expression, lambda part: decided[part.name], lambda severity: (severity,))


@given(expressions, decisions)
def test_what_is_written_and_parsed_means_the_same(
    expression: Expression, decided: Mapping[str, int]
) -> None:
    parsed = parse(written(expression))

    assert set(licenses(parsed)) == set(licenses(expression))
    assert judged(parsed, decided) == judged(expression, decided)


@given(expressions)
def test_parsing_what_was_parsed_changes_nothing(expression: Expression) -> None:
    parsed = parse(written(expression))

    assert parse(written(parsed)) == parsed


@given(st.lists(expressions, min_size=2, max_size=4), decisions)
def test_a_choice_is_never_stricter_than_one_of_its_parts(
    parts: list[Expression], decided: Mapping[str, int]
) -> None:
    whole = Compound(Joint.OR, tuple(parts))

    assert all(judged(whole, decided) <= judged(part, decided) for part in parts)


@given(st.lists(expressions, min_size=2, max_size=4), decisions)
def test_what_must_all_be_kept_is_never_laxer_than_one_of_its_parts(
    parts: list[Expression], decided: Mapping[str, int]
) -> None:
    whole = Compound(Joint.AND, tuple(parts))

    assert all(judged(whole, decided) >= judged(part, decided) for part in parts)


@given(expressions, st.integers(0, 4))
def test_what_is_decided_of_every_part_is_decided_of_the_whole(expression: Expression, severity: int) -> None:
    assert judged(expression, dict.fromkeys(IDS, severity)) == severity


@given(expressions, decisions)
def test_an_expression_beside_itself_is_itself(expression: Expression, decided: Mapping[str, int]) -> None:
    for joint in Joint:
        assert judged(Compound(joint, (expression, expression)), decided) == judged(expression, decided)


@given(expressions, decisions, st.sampled_from(IDS))
def test_a_stricter_word_on_a_part_never_makes_the_whole_laxer(
    expression: Expression, decided: Mapping[str, int], license_id: str
) -> None:
    stricter = {**decided, license_id: 4}

    assert judged(expression, stricter) >= judged(expression, decided)


def test_and_binds_more_closely_than_or() -> None:
    assert judged(parse("MIT OR Apache-2.0 AND LicenseRef-DeepSeek"), SEVERE_REF) == 0
    assert judged(parse("(MIT OR Apache-2.0) AND LicenseRef-DeepSeek"), SEVERE_REF) == 4


SEVERE_REF = {"MIT": 0, "Apache-2.0": 0, "LicenseRef-DeepSeek": 4}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("MIT", ("MIT",)),
        ("GPL-2.0+", ("GPL-2.0+", "GPL-2.0")),
        ("GPL-2.0+ WITH X", ("GPL-2.0+ WITH X", "GPL-2.0+", "GPL-2.0")),
        ("DocumentRef-a:LicenseRef-B", ("DocumentRef-a:LicenseRef-B", "LicenseRef-B")),
    ],
)
def test_a_license_with_something_added_may_be_named_without_it(name: str, names: tuple[str, ...]) -> None:
    assert License(name).names == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIT OR",
        "MIT Apache-2.0",
        "MIT) OR (Apache-2.0",
        "A WITH B WITH C",
        "(A OR B) WITH C",
        "AND",
        "A,B",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(MalformedExpression):
        parse(text)
