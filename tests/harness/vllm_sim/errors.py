"""vLLM's error answers: one JSON form, and the statuses, types and texts of vllm/entrypoints/serve."""

import re
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from harness.vllm_sim.engine import EngineClosedError, QueueFullError

MOST_ERRORS = 10
LONGEST_INPUT = 200
LONGEST_ERROR = 1000
# Segments of pydantic's error places that name no field: wrappers, union branches, types, our own bodies.
NO_FIELD = re.compile(r".*[\[\]{}()].*|str|int|float|bool|list|dict|none|nullable|union|Tokenize\w+")
BUSY = {
    "max_num_queued_reqs": "The engine is currently busy and cannot accept new requests. ",
    "max_num_queued_tokens": "The engine has reached its prefill token backlog limit. ",
}


class ApiError(Exception):
    """An answer other than 200, raised where it becomes clear."""

    def __init__(self, message: str, param: str | None = None, value: object = None) -> None:
        """A 400; `param` and `value` are named in the message too, as vLLM does."""
        details = [
            f"{key}={text}" for key, text in (("parameter", param), ("value", value)) if text is not None
        ]
        super().__init__(f"{message} ({', '.join(details)})" if details else message)
        self.param = param
        self.type = "BadRequestError"
        self.status = HTTPStatus.BAD_REQUEST


class PlainError(ApiError):
    """A 400 whose message does not repeat the parameter."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownModelError(PlainError):
    """A 404 for a model that is not served."""

    def __init__(self, model: str, served: str) -> None:
        super().__init__(f"The model `{model}` does not exist. Valid aliases: {served}.", "model")
        self.type = "NotFoundError"
        self.status = HTTPStatus.NOT_FOUND


class InjectedError(PlainError):
    """The answer that a fault asks for."""

    def __init__(self, status: int) -> None:
        super().__init__("Internal server error")
        self.status = HTTPStatus(status)
        self.type = (
            "InternalServerError" if status == HTTPStatus.INTERNAL_SERVER_ERROR else self.status.phrase
        )


def install(app: FastAPI) -> None:
    """Have the app answer every error as vLLM does."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(QueueFullError, _queue_full)
    app.add_exception_handler(EngineClosedError, _engine_closed)
    app.add_exception_handler(RequestValidationError, _invalid_request)


def body(message: str, kind: str, code: int, param: str | None = None) -> dict[str, object]:
    """The JSON of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(body(str(error), error.type, error.status, error.param), error.status)


async def _queue_full(_: Request, error: Exception) -> JSONResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    message = BUSY[str(error)] + "Please try again later or on a different instance."
    return JSONResponse(body(message, status.phrase, status), status)


async def _engine_closed(_: Request, __: Exception) -> JSONResponse:
    # The text is what Python says when vLLM's tokenizer threads have been stopped.
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    message = "cannot schedule new futures after shutdown"
    return JSONResponse(body(message, "InternalServerError", status), status)


async def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = error.errors()
    word = "error" if len(errors) == 1 else "errors"
    lines = [f"{len(errors)} validation {word}:", *(f"  {_described(one)}" for one in errors[:MOST_ERRORS])]
    if len(errors) > MOST_ERRORS:
        lines.append(f"  ...and {len(errors) - MOST_ERRORS} more {word}")
    first = errors[0]
    param = _place(first["loc"]) if isinstance(first, dict) else None
    status = HTTPStatus.BAD_REQUEST
    return JSONResponse(body("\n".join(lines), status.phrase, status, param), status)


def _described(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    shown = dict(error)
    if "input" in shown:
        shown["input"] = _summary(shown["input"])
    shown["loc"] = _place(shown["loc"])
    return _cut(str(shown), LONGEST_ERROR)


def _summary(value: object) -> object:
    if isinstance(value, (list, dict)):
        return f"<{type(value).__name__} of {len(value)} items>"
    return _cut(str(value), LONGEST_INPUT)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "...[truncated]"


def _place(location: tuple[object, ...]) -> str:
    """`body.prompt` for a place of pydantic's."""
    parts = [str(part) for part in location]
    return ".".join([part for part in parts if not NO_FIELD.fullmatch(part)] or parts)
