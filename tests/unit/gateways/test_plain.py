"""A gateway without a dialect: nothing but routes, and what its owner says."""

from pilothouse.gateways.plain import Plain
from pilothouse.gateways.registry import dialect_of
from unit.gateways.uses import KEYS, tenant, use

EXTERNAL = {"pilothouse.dev/callers": "External"}


def test_any_controller_that_nobody_knows_is_plain() -> None:
    assert isinstance(dialect_of("example.com/gateway"), Plain)
    assert isinstance(dialect_of(""), Plain)


def test_it_asks_for_no_objects() -> None:
    assert Plain().parts(use(tenant())) == []
    assert Plain().route_parts(use(tenant()), "coder", (tenant(),)).parts == ()


def test_callers_are_known_where_the_owner_says_so_and_nowhere_else() -> None:
    assert Plain().names_callers(use(annotations=EXTERNAL))
    assert Plain().why_unnamed(use(annotations=EXTERNAL), tenant()) == ""
    assert not Plain().names_callers(use(annotations=KEYS))
    assert "it takes External" in Plain().why_unnamed(use(annotations=KEYS), tenant())


def test_it_holds_no_rate() -> None:
    assert Plain().why_no_rate(use(annotations=EXTERNAL), tenant(), "perTenant.requestsPerMinute")
