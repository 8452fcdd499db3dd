"""What every generating answer has: ids, usage, chunks of a stream, and an end when the client goes."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from harness.vllm_sim.generation import Call
from harness.vllm_sim.output import Piece
from harness.vllm_sim.protocol import GenerationBody

DONE = "data: [DONE]\n\n"
KEEP_ALIVE = ": keep-alive\n\n"
Json = Mapping[str, object]


@dataclass
class Answer:
    """What is collected of one choice."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        self.text += piece.text
        self.token_ids += piece.token_ids
        self.finish_reason = piece.finish_reason
        self.stop_reason = piece.stop_reason


def random_id() -> str:
    """16 hexadecimal digits."""
    return uuid.uuid4().hex[:16]


def request_id(prefix: str, request: Request, body: GenerationBody) -> str:
    """The id of the answer: the client's own, by header before body, or a new one."""
    return f"{prefix}-{request.headers.get('X-Request-Id') or body.request_id or random_id()}"


def now() -> int:
    """`created`, in seconds since 1970."""
    return int(time.time())


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, object]:
    """Token counts as in a stream; elsewhere two empty details follow."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def full_usage(prompt_tokens: int, answers: Iterable[Answer]) -> dict[str, object]:
    """Token counts of a whole answer."""
    counts = usage(prompt_tokens, sum(len(answer.token_ids) for answer in answers))
    return {**counts, "prompt_tokens_details": None, "completion_tokens_details": None}


def event(chunk: Json) -> str:
    """One event of a stream."""
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def collect(call: Call, answers: int) -> list[Answer]:
    """Wait for all answers."""
    collected = [Answer() for _ in range(answers)]
    async for piece in call.pieces():
        collected[piece.index].add(piece)
    return collected


async def unless_disconnected(request: Request, answer: Awaitable[Response]) -> Response:
    """The answer; if the client goes first its work is cancelled and what is returned reaches nobody."""
    working = asyncio.ensure_future(answer)
    listening = asyncio.ensure_future(_disconnected(request))
    done, pending = await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return working.result() if working in done else Response()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """A stream of events that runs `closing` however it ends, even if it never began."""

    def __init__(self, events: AsyncIterator[str], closing: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closing()


async def keep_alive(events: AsyncIterator[str], interval: float) -> AsyncIterator[str]:
    """The same events, and a comment whenever none came for `interval` seconds."""
    upcoming = asyncio.ensure_future(anext(events))
    try:
        while True:
            await asyncio.wait({upcoming}, timeout=interval)
            if not upcoming.done():
                yield KEEP_ALIVE
                continue
            try:
                yield upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = asyncio.ensure_future(anext(events))
    finally:
        upcoming.cancel()
