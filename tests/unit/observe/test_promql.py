"""How answers of Prometheus become numbers and errors; what a real one answers, tests/integration tests."""

import json
from typing import Any

import pytest
from aiohttp import web

from pilothouse.api.common import LocalReference
from pilothouse.api.rolloutpolicy import Prometheus
from pilothouse.errors import NotFound, Unreadable
from pilothouse.observe.http import open_session
from pilothouse.observe.promql import PromQL
from unit.observe.engines import Answer, says, serving

SERIES = {"metric": {"__name__": "up", "pod": "p"}, "value": [1795485600, "3"]}


def vector(*series: Any, **more: Any) -> str:
    """A successful answer."""
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}, **more})


async def token(name: str) -> str:
    """The token of a Secret that exists."""
    if name != "here":
        raise NotFound(f'secrets "{name}" not found')
    return "s3cret"


async def number(answer: Answer, secret: str = "") -> float | None:
    """Ask a server that answers like this for one number."""
    async with serving({"127.0.0.1": answer}) as port, open_session() as session:
        reference = LocalReference(name=secret) if secret else None
        server = Prometheus(url=f"http://127.0.0.1:{port}", secret_ref=reference)
        return await PromQL(session, token, 5).number(server, "up")


async def test_one_series_is_its_value() -> None:
    assert await number(says(vector(SERIES))) == 3


async def test_a_scalar_is_a_number_too() -> None:
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1795485600, "7"]}}
    assert await number(says(json.dumps(scalar))) == 7


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
async def test_what_is_no_finite_number_is_none(value: str) -> None:
    assert await number(says(vector({**SERIES, "value": [1795485600, value]}))) is None


async def test_no_series_is_none() -> None:
    assert await number(says(vector())) is None


async def test_a_native_histogram_is_none() -> None:
    assert await number(says(vector({"metric": {}, "histogram": [1795485600, {}]}))) is None


async def test_a_remark_is_no_warning() -> None:
    remark = "PromQL info: metric might not be a counter"
    assert await number(says(vector(SERIES, warnings=[remark]))) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(vector(SERIES, SERIES)), "the query gives 2 series instead of one"),
        (says(vector(SERIES, warnings=["a store is down"])), "warning: a store is down"),
        (says('{"status": "error", "error": "parse error"}', 400), "HTTP 400: parse error"),
        (says("<html>", 502), "HTTP 502, and not the answer of a Prometheus"),
        (says("[]"), "HTTP 200, and not the answer of a Prometheus"),
        (says('{"status": "success"}'), "HTTP 200, and not the answer of a Prometheus"),
        (
            says('{"status": "success", "data": {"resultType": "matrix", "result": []}}'),
            "the query gives a matrix instead of a number",
        ),
    ],
    ids=["several", "warning", "bad query", "proxy", "list", "no data", "matrix"],
)
async def test_what_is_no_number_says_why(answer: Answer, why: str) -> None:
    with pytest.raises(Unreadable, match=f"^{why}$"):
        await number(answer)


async def test_the_token_is_sent_as_bearer() -> None:
    async def guarded(request: web.Request) -> web.Response:
        known = request.headers.get("Authorization") == "Bearer s3cret"
        return web.Response(text=vector(SERIES), status=200 if known else 401)

    assert await number(guarded, secret="here") == 3  # noqa: S106 -- a name


async def test_a_secret_that_is_missing_says_so() -> None:
    with pytest.raises(Unreadable, match=r'^no token: secrets "gone" not found$'):
        await number(says(vector(SERIES)), secret="gone")  # noqa: S106 -- a name


async def test_no_error_holds_the_token() -> None:
    with pytest.raises(Unreadable) as raised:
        await number(says("<html>", 401), secret="here")  # noqa: S106 -- a name
    assert "s3cret" not in repr(raised.value) + repr(raised.value.__cause__)
