"""What stands around the routes: CORS, --api-key, --enable-request-id-headers, --middleware outermost."""

import argparse
import importlib
import inspect
import os
import secrets
import uuid
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GUARDED = ("/v1", "/v2", "/inference", "/cohere")


class ApiKey:
    """Answers 401 below /v1 to whoever brings none of the keys."""

    def __init__(self, app: ASGIApp, keys: list[str]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if it may."""
        if scope["type"] == "http" and scope["method"] != "OPTIONS" and not self._may_pass(scope):
            await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        scheme, _, key = Headers(scope=scope).get("Authorization", "").partition(" ")
        known = [secrets.compare_digest(key.encode(), one.encode()) for one in self._keys]
        return not path.startswith(GUARDED) or (scheme.lower() == "bearer" and any(known))


class RequestId:
    """Gives each answer the X-Request-Id of its request, or a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and mark its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get("X-Request-Id") or uuid.uuid4().hex

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).append("X-Request-Id", request_id)
            await send(message)

        await self._app(scope, receive, marked)


def install(app: FastAPI, args: argparse.Namespace) -> None:
    """Put everything around the app that the flags ask for.

    Raises ValueError, ImportError or AttributeError where --middleware names nothing that can be one.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=args.allowed_origins,
        allow_credentials=args.allow_credentials,
        allow_methods=args.allowed_methods,
        allow_headers=args.allowed_headers,
    )
    if keys := [key for key in args.api_key or [os.environ.get("VLLM_API_KEY")] if key]:
        app.add_middleware(ApiKey, keys=keys)
    if args.enable_request_id_headers:
        app.add_middleware(RequestId)
    for name in args.middleware:
        _add_named(app, name)


def _add_named(app: FastAPI, name: str) -> None:
    module, attribute = name.rsplit(".", 1)
    found: Any = getattr(importlib.import_module(module), attribute)
    if inspect.isclass(found):
        app.add_middleware(found)  # type: ignore[arg-type]  # whether it fits shows when it is built
    elif inspect.iscoroutinefunction(found):
        app.middleware("http")(found)
    else:
        raise ValueError(f"Invalid middleware {name}. Must be a function or a class.")
