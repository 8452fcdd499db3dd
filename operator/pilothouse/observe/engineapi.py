"""One engine's API of completions and tokens, as far as its preflight needs it.

Every call raises Unreachable where no connection was made, Retryable where it broke off or the engine is full
(503), and WrongAnswer for an answer that a sound engine never gives. No message repeats a prompt or an
output. A call takes as long as the engine takes: who calls sets the deadline.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from pilothouse.errors import Retryable, Unreachable, WrongAnswer
from pilothouse.names import OPERATOR_TENANT, GuardPath, Header
from pilothouse.plan.observed import Object
from pilothouse.plan.probes import PROBES, Tokens

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_CHUNK: Final = 65_536
_LIMIT: Final = 1_000_000
_CALLER: Final[dict[str, str]] = {Header.TENANT: OPERATOR_TENANT}
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)

Answer = TypeVar("Answer", bound=BaseModel)


class Choice(BaseModel):
    """One piece of an answer; the text is not read."""

    finish_reason: str | None = None


class Usage(BaseModel):
    """What the engine counted."""

    prompt_tokens: int
    completion_tokens: int


class Chunk(BaseModel):
    """One event of a stream: pieces, or at the end and without any the usage."""

    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: tuple[_Model, ...]


class _Tokens(BaseModel):
    tokens: tuple[int, ...]


class _Probes(BaseModel):
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What is asked for: the continuation of a prompt of token ids, whose text may well end before."""

    model: str
    prompt: Sequence[int]
    max_tokens: int

    def body(self) -> Object:
        """Return the request's JSON."""
        return {
            "model": self.model,
            "prompt": list(self.prompt),
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }


@dataclass(frozen=True, slots=True)
class EngineApi:
    """One engine, by its base URL without a path."""

    session: aiohttp.ClientSession
    url: str

    async def served_names(self) -> list[str]:
        """Return the names that requests may ask for; answers carry the first one."""
        async with self._request("GET", "/v1/models") as response:
            models = await _answer(response, _Models)
        return [model.id for model in models.data]

    async def probe_tokens(self) -> Tokens:
        """Return the token ids of PROBES, with the special tokens that the tokenizer adds by itself.

        A guard answers for all of them; an engine without one is asked for each.
        """
        async with self._request("GET", GuardPath.PROBES) as response:
            if response.status != HTTPStatus.NOT_FOUND:
                return (await _answer(response, _Probes)).tokens
        return [await self._tokenize(text) for text in PROBES]

    async def _tokenize(self, text: str) -> tuple[int, ...]:
        async with self._request("POST", "/tokenize", {"prompt": text}) as response:
            return (await _answer(response, _Tokens)).tokens

    async def status_of(self, completion: Completion) -> int:
        """Return the HTTP status of the answer."""
        async with self._request("POST", "/v1/completions", completion.body()) as response:
            return response.status

    @asynccontextmanager
    async def stream(self, completion: Completion) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Ask for a stream and give its chunks as they come; to leave is to hang up."""
        body = {**completion.body(), "stream": True, "stream_options": {"include_usage": True}}
        async with self._request("POST", "/v1/completions", body) as response:
            _expect_ok(response)
            try:
                async with aclosing(_chunks(response)) as chunks:
                    yield chunks
            finally:
                # An engine generates on for a connection that stays.
                response.close()

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: Object | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        with _translated(path):
            async with self.session.request(
                method,
                self.url + path,
                json=body,
                headers=_CALLER,
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise Retryable(f"{path} answers HTTP 503")
                yield response


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unreachable(f"{path}: can't connect") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Retryable(f"{path}: the connection broke off: {type(error).__name__}") from error


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[Chunk]:
    """Yield the chunks up to [DONE]; comments and blank lines between events are passed over."""
    try:
        async for line in response.content:
            data = line.removeprefix(_DATA).strip()
            if data == _DONE:
                return
            if line.startswith(_DATA):
                yield _parsed(data, Chunk, "the stream")
    except ValueError as error:
        raise WrongAnswer("the stream has a line that is too long") from error
    raise WrongAnswer("the stream ended without [DONE]")


async def _answer(response: aiohttp.ClientResponse, shape: type[Answer]) -> Answer:
    _expect_ok(response)
    body = bytearray()
    async for part in response.content.iter_chunked(_CHUNK):
        body += part
        if len(body) > _LIMIT:
            raise WrongAnswer(f"{response.url.path} answers more than {_LIMIT} bytes")
    return _parsed(bytes(body), shape, response.url.path)


def _parsed(body: bytes, shape: type[Answer], where: str) -> Answer:
    try:
        return shape.model_validate_json(body)
    except ValidationError:
        # Without its cause: pydantic's error repeats the body.
        raise WrongAnswer(f"{where} has not the shape of a {shape.__name__.strip('_').lower()}") from None


def _expect_ok(response: aiohttp.ClientResponse) -> None:
    if response.status != HTTPStatus.OK:
        raise WrongAnswer(f"{response.url.path} answers HTTP {response.status}")
