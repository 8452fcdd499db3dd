"""The guard alone, around an app that does nothing but stream: its CPU time for one request."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.guard.engines import MODEL, Object, headers, lay_out
from benchmarks.guard.load import END, body, prompts

from pilothouse.guard.pilothouse_guard import App, Guard, Message, Receive, Send

SIZES = (1_000, 8_000, 32_000)
TOKENS = 128
REQUESTS = 300


@dataclass(frozen=True)
class Cost:
    """CPU time that the guard adds to one request, in seconds.

    Attributes:
        before: until the engine has the request.
        after: from then to the line in the log.

    """

    before: float
    after: float


class NullEngine:
    """Streams as vLLM does, and counts the tokens of a prompt at no cost."""

    def __init__(self) -> None:
        self.reached = 0.0
        self._events = [_event(number) for number in range(TOKENS)] + [_usage(), END]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a generation with the stream, and any question for tokens with one token."""
        await receive()
        if scope["path"] == "/tokenize":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await _send(send, b'{"tokens":[1],"count":1}', more=False)
            return
        self.reached = time.process_time()
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        for event in self._events:
            await _send(send, event, more=True)
        await _send(send, b"", more=False)


def measure(folder: Path, size: int) -> Cost:
    """Return the median over requests, one after the other, each of them with the guard and without."""
    with _environment(folder), _silence():
        return asyncio.run(_measure(size))


async def _measure(size: int) -> Cost:
    engine = NullEngine()
    guard = Guard(engine)
    before, after = [], []
    for number, prompt in zip(range(REQUESTS), prompts(size), strict=False):
        raw = json.dumps(body(prompt, TOKENS)).encode()
        bare, guarded = [await _ask(app, engine, raw, number) for app in (engine, guard)]
        before.append(guarded.before - bare.before)
        after.append(guarded.after - bare.after)
    return Cost(median(before), median(after))


async def _ask(app: App, engine: NullEngine, raw: bytes, number: int) -> Cost:
    parts = [raw]

    async def receive() -> Message:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(), "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200, message

    began = time.process_time()
    await app(_scope(raw, number), receive, send)
    return Cost(engine.reached - began, time.process_time() - engine.reached)


def _scope(raw: bytes, number: int) -> Object:
    said = {
        "host": "qwen-coder",
        "content-type": "application/json",
        "content-length": str(len(raw)),
        **headers(number),
    }
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "raw_path": b"/v1/completions",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
    }


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(lay_out(folder))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _silence() -> Iterator[None]:
    """Let the guard write its lines, which go past sys.stdout, to nowhere."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
_ABOUT = {"id": "cmpl-bench", "object": "text_completion", "created": 1764000000, "model": MODEL}


def _event(number: int) -> bytes:
    reason = "length" if number == TOKENS - 1 else None
    choice = {"index": 0, "text": " token", "logprobs": None, "finish_reason": reason, "stop_reason": None}
    return _chunk({**_ABOUT, "choices": [choice]})


def _usage() -> bytes:
    usage = {"prompt_tokens": 1, "total_tokens": 1 + TOKENS, "completion_tokens": TOKENS}
    return _chunk({**_ABOUT, "choices": [], "usage": usage})


def _chunk(content: Object) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


async def _send(send: Send, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
