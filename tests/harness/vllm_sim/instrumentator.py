"""The http_* metrics that vLLM has from prometheus-fastapi-instrumentator, as ASGI middleware."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOT_COUNTED = {"/metrics", "/health", "/load", "/ping", "/version"}
MANY_BUCKETS = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    1.5,
    2,
    2.5,
    3,
    3.5,
    4,
    4.5,
    5,
    7.5,
    10,
    30,
    60,
)
FEW_BUCKETS = (0.1, 0.5, 1)


class HttpMetrics:
    """The five families."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "http_requests_total",
            "Total number of requests by method, status and handler.",
            ["method", "status", "handler"],
            registry=registry,
        )
        size = "Content length of {} by handler. Only value of header is respected. Otherwise ignored. {}"
        self.request_size = Summary(
            "http_request_size_bytes",
            size.format("incoming requests", "No percentile calculated. "),
            ["handler"],
            registry=registry,
        )
        self.response_size = Summary(
            "http_response_size_bytes",
            size.format("outgoing responses", "No percentile calculated. "),
            ["handler"],
            registry=registry,
        )
        self.fine_duration = Histogram(
            "http_request_duration_highr_seconds",
            "Latency with many buckets but no API specific labels. "
            "Made for more accurate percentile calculations. ",
            buckets=MANY_BUCKETS,
            registry=registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Latency with only few buckets by handler. "
            "Made to be only used if aggregation by handler is important. ",
            ["method", "handler"],
            buckets=FEW_BUCKETS,
            registry=registry,
        )


class Instrumentator:
    """Counts each request by the route that it matches; `none` for none."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, routes: list[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its answer."""
        handler = self._handler(scope) if scope["type"] == "http" else ""
        if scope["type"] != "http" or handler in NOT_COUNTED:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, sent = 500, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status, sent = message["status"], _length(Headers(raw=message["headers"]))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._count(scope, handler, status, sent, time.perf_counter() - started)

    def _count(self, scope: Scope, handler: str, status: int, sent: int, seconds: float) -> None:
        method = scope["method"]
        self._metrics.requests.labels(method, f"{status // 100}xx", handler).inc()
        self._metrics.request_size.labels(handler).observe(_length(Headers(scope=scope)))
        self._metrics.response_size.labels(handler).observe(sent)
        self._metrics.fine_duration.observe(seconds)
        self._metrics.duration.labels(method, handler).observe(seconds)

    def _handler(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] != Match.NONE:
                return str(getattr(route, "path", "none"))
        return "none"


def _length(headers: Headers) -> int:
    return int(headers.get("content-length", 0))
