"""Prometheus' HTTP API, as far as instant queries need it: https://prometheus.io/docs/prometheus/latest/querying/api/.

A result that may lack something, by Prometheus' own warning, is no result: half of the counters would look
like engines that began anew.
"""

import json
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from pilothouse.api.rolloutpolicy import Prometheus as Server
from pilothouse.errors import PilothouseError, Unreadable
from pilothouse.observe.http import Request, read
from pilothouse.observe.series import Sample

_LIMIT: Final = 16_000_000
_SHOWN: Final = 200
_NO_WARNING: Final = "PromQL info:"
"""How remarks begin that later versions of Prometheus send apart from warnings."""

Token = Callable[[str], Awaitable[str]]
"""Reads the bearer token from a Secret by name; raises PilothouseError."""


@dataclass(frozen=True, slots=True)
class PromQL:
    """Asks; `seconds` is what one query may take."""

    session: aiohttp.ClientSession
    token: Token
    seconds: float

    async def vector(self, server: Server, query: str) -> list[Sample]:
        """Return the result of an instant query, a scalar as one sample; raises Unreadable."""
        request = Request(
            url=f"{server.url.rstrip('/')}/api/v1/query",
            seconds=self.seconds,
            limit=_LIMIT,
            form={"query": query},
            headers=await self._headers(server),
        )
        status, body = await read(self.session, request)
        try:
            return list(_samples(_data(status, json.loads(body))))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Unreadable(f"HTTP {status}, and not the answer of a Prometheus") from error

    async def number(self, server: Server, query: str) -> float | None:
        """Return the one number that a query gives, None where it gives none; raises Unreadable."""
        samples = await self.vector(server, query)
        if len(samples) > 1:
            raise Unreadable(f"the query gives {len(samples)} series instead of one")
        return next((sample.value for sample in samples if math.isfinite(sample.value)), None)

    async def _headers(self, server: Server) -> dict[str, str]:
        if not server.secret_ref:
            return {}
        try:
            return {"Authorization": f"Bearer {await self.token(server.secret_ref.name)}"}
        except PilothouseError as error:
            raise Unreadable(f"no token: {error}") from error


def _data(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if answer["status"] != "success":
        raise Unreadable(f"HTTP {status}: {answer['error']}"[:_SHOWN])
    warnings = [text for text in answer.get("warnings") or [] if not text.startswith(_NO_WARNING)]
    if warnings:
        raise Unreadable(f"warning: {'; '.join(warnings)}"[:_SHOWN])
    data: dict[str, Any] = answer["data"]
    return data


def _samples(data: dict[str, Any]) -> Iterator[Sample]:
    kind = data["resultType"]
    if kind == "scalar":
        yield Sample("", {}, float(data["result"][1]))
        return
    if kind != "vector":
        raise Unreadable(f"the query gives a {kind} instead of a number")
    for series in data["result"]:
        labels = series["metric"]
        # A native histogram has no value.
        if "value" in series:
            yield Sample(labels.get("__name__", ""), labels, float(series["value"][1]))
