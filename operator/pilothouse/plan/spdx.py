"""An SPDX license expression, taken apart: which licenses it is made of, and how they hang together.

The library `license-expression` reads the grammar. It knows no list of licenses here: ids that SPDX does not
have (`LicenseRef-...`) are the common case, and what is allowed is for the LicensePolicies to say.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from license_expression import (  # type: ignore[import-untyped]
    ExpressionError,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
)

from pilothouse.errors import MalformedExpression

T = TypeVar("T")

_LICENSING: Final = Licensing()


class Joint(StrEnum):
    """How the parts of an expression hang together."""

    AND = "AND"
    """All parts must be kept."""
    OR = "OR"
    """One part of one's choice must be kept."""


@dataclass(frozen=True, slots=True)
class License:
    """One license: `Apache-2.0`, `LicenseRef-DeepSeek`, `GPL-2.0-only WITH Classpath-exception-2.0`."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """What a rule may call it, the most exact first.

        What is added to a license opens nothing by itself: `X WITH Y`, `X+` and `DocumentRef-Z:X` are X where
        nothing names them whole.
        """
        whole, plain = self.name, self.name.partition(" WITH ")[0]
        forms = (whole, plain, plain.removesuffix("+"), plain.removesuffix("+").rpartition(":")[2])
        return tuple(dict.fromkeys(forms))


@dataclass(frozen=True, slots=True)
class Compound:
    """Two or more parts, in the order in which they are written."""

    joint: Joint
    parts: tuple["Expression", ...]


Expression = License | Compound


def parse(text: str) -> Expression:
    """Take a text apart. Raises MalformedExpression."""
    try:
        tree = _LICENSING.parse(text)
    except ExpressionError as error:
        raise MalformedExpression(str(error)) from error
    if tree is None:
        raise MalformedExpression("it is empty")
    return _expression(tree)


def licenses(expression: Expression) -> Iterator[License]:
    """Name every license of an expression, in the order in which they are written."""
    if isinstance(expression, License):
        yield expression
        return
    for part in expression.parts:
        yield from licenses(part)


def strictest(
    expression: Expression, judge: Callable[[License], T], strictness: Callable[[T], tuple[float, ...]]
) -> T:
    """Judge a whole by its parts: with AND the strictest decides, with OR the most permissive.

    `strictness` orders what `judge` says of one license; of equals the part that is written first decides.
    """
    if isinstance(expression, License):
        return judge(expression)
    choose = max if expression.joint is Joint.AND else min
    return choose((strictest(part, judge, strictness) for part in expression.parts), key=strictness)


def is_same(one: str, other: str) -> bool:
    """Say whether two ids name one license: SPDX compares them without regard to case."""
    return one.casefold() == other.casefold()


def _expression(tree: Any) -> Expression:  # noqa: ANN401 -- the library has no types
    if isinstance(tree, LicenseWithExceptionSymbol):
        return License(f"{_key(tree.license_symbol)} WITH {_key(tree.exception_symbol)}")
    if isinstance(tree, LicenseSymbol):
        return License(_key(tree))
    return Compound(Joint(tree.operator.strip()), tuple(_expression(part) for part in tree.args))


def _key(symbol: Any) -> str:  # noqa: ANN401 -- the library has no types
    key = str(symbol.key)
    if " " in key:
        raise MalformedExpression(f'"{key}": AND, OR or WITH is missing')
    return key
