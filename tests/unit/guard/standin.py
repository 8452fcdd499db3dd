"""A guard around an engine of the test, a client that may hang up, and the lines that the guard writes."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pilothouse.guard.pilothouse_guard import Guard

Object = dict[str, Any]
IDENTITY = {
    "namespace": "team-ide",
    "deployment": "qwen-coder",
    "revision": "7f3a9c1d20",
    "model": "qwen2.5-coder-7b",
    "modelRevision": "c0ffee",
    "tokenizerRevision": "7ea",
    "licenseID": "Apache-2.0",
    "queueClass": "completion",
}
PINS = {
    "x-pilothouse-revision": "7f3a9c1d20",
    "x-model-revision": "c0ffee",
    "x-tokenizer-revision": "7ea",
    "x-license-id": "Apache-2.0",
}


def settings(
    *,
    requests: Object | None = None,
    concurrency: Object | None = None,
    tenants: Object | None = None,
    callers: str = "Any",
) -> Object:
    return {
        "version": 1,
        "identity": IDENTITY,
        "requests": {"maxInputTokens": 100, "maxOutputTokens": 32, "timeoutSeconds": 5.0} | (requests or {}),
        "concurrency": {"perReplica": 2, "queuedPerReplica": 1, "onFull": "Reject"} | (concurrency or {}),
        "callers": callers,
        "tenants": tenants or {},
    }


@dataclass
class Answer:
    """What a client got."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Object:
        found: Object = self.json["error"]
        return found

    @property
    def events(self) -> list[str]:
        return [event.removeprefix("data: ") for event in self.body.decode().split("\n\n")[:-1]]


class Client:
    """One request; `hang_up` may come at any time."""

    def __init__(self, body: object, headers: Object | None = None, parts: list[bytes] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._parts = parts or [raw]
        self._gone = asyncio.Event()
        self.headers = [(name.encode(), str(value).encode()) for name, value in (headers or {}).items()]
        self.answer = Answer()
        self.got = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> Object:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Object) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            assert self.answer.status is None
            self.answer.status = message["status"]
            for name, value in message["headers"]:
                assert name.decode() not in self.answer.headers
                self.answer.headers[name.decode()] = value.decode()
            return
        assert self.answer.status is not None
        assert not self.answer.ended
        self.answer.parts.append(message["body"])
        self.answer.ended = not message["more_body"]
        self.got.set()


class Engine:
    """Answers as vLLM does: one token a byte, and as many tokens as asked for."""

    def __init__(self) -> None:
        self.bodies: list[Object] = []
        self.scopes: list[Object] = []
        self.questions: list[Object] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.running = 0
        self.failure: Exception | None = None
        self.fails_after = 0
        self.pauses_after: int | None = None
        self.is_deaf = False
        self.status = 200

    async def __call__(self, scope: Object, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": f"{scope['type']}.seen"})
            return
        body = (await receive())["body"] if scope["method"] == "POST" else b"null"
        if scope["path"] in ("/tokenize", "/detokenize"):
            await self._tokens(scope["path"], json.loads(body), send)
        elif scope["path"].startswith("/v1/") and scope["method"] == "POST":
            await self._generate(scope, json.loads(body), receive, send)
        else:
            await _whole(send, 200, {"path": scope["path"]})

    async def _tokens(self, path: str, body: Object, send: Any) -> None:
        self.questions.append(body)
        if path == "/detokenize":
            await _whole(send, 200, {"prompt": bytes(body["tokens"]).decode()})
            return
        text = body["prompt"] if "prompt" in body else json.dumps(body["messages"])
        await _whole(send, 200, {"count": len(text.encode()), "tokens": list(text.encode())})

    async def _generate(self, scope: Object, body: Object, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.bodies.append(body)
        self.running += 1
        writing = asyncio.ensure_future(self._write(scope["path"], body, send))
        listening = asyncio.ensure_future(receive())
        try:
            watched = {writing} if self.is_deaf else {writing, listening}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            writing.cancel()
            listening.cancel()
            self.running -= 1

    async def _write(self, path: str, body: Object, send: Any) -> None:
        chat = path == "/v1/chat/completions"
        prompt = json.dumps(body["messages"]) if chat else body["prompt"]
        length, tokens = len(prompt), body.get("max_tokens") or 16
        usage = {"prompt_tokens": length, "total_tokens": length + tokens, "completion_tokens": tokens}
        if self.status != 200:
            await _whole(send, self.status, {"error": {"message": f"no: {prompt}", "code": self.status}})
        elif body.get("stream"):
            await self._stream(tokens, usage, body, send)
        else:
            self._maybe_fail(0)
            await self.may_go_on.wait()
            choice = {"index": 0, "text": "t" * tokens, "finish_reason": "length"}
            await _whole(send, 200, {"choices": [choice], "usage": usage})

    async def _stream(self, tokens: int, usage: Object, body: Object, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-request-id", b"the engine's")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for position in range(tokens):
            self._maybe_fail(position)
            if position == self.pauses_after:
                self.may_go_on.clear()
            await self.may_go_on.wait()
            reason = "length" if position == tokens - 1 else None
            choice = {"index": 0, "text": "t", "finish_reason": reason}
            await _event(send, {"choices": [choice]})
        if body["stream_options"]["include_usage"]:
            await _event(send, {"choices": [], "usage": usage})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _maybe_fail(self, position: int) -> None:
        if self.failure and position >= self.fails_after:
            raise self.failure


async def _event(send: Any, chunk: Object) -> None:
    data = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _whole(send: Any, status: int, content: object) -> None:
    body = json.dumps(content, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- what is waited for sets no event
            await asyncio.sleep(0)


class Setup:
    """A guard around an engine, both of the test."""

    def __init__(self, folder: Path, engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.engine = engine
        self.seconds = 1000.0
        """What the clock of the budgets shows."""
        self.guard = Guard(engine, self._clock)
        self._capfd = capfd
        self._written = ""

    def use(self, engine: Any) -> None:
        """Put another engine behind the guard."""
        self.engine = engine
        self.guard = Guard(engine, self._clock)

    def _clock(self) -> float:
        return self.seconds

    @property
    def lines(self) -> list[Object]:
        """All lines of the log so far."""
        self._written += self._capfd.readouterr().out
        return [json.loads(line) for line in self._written.splitlines()]

    @property
    def line(self) -> Object:
        """The one line of the log."""
        (line,) = self.lines
        return line

    async def serve(self, client: Client, path: str = "/v1/completions", method: str = "POST") -> Answer:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": client.headers,
        }
        await self.guard(scope, client.receive, client.send)
        return client.answer

    async def ask(
        self,
        body: object = None,
        path: str = "/v1/completions",
        method: str = "POST",
        headers: Object | None = None,
    ) -> Answer:
        return await self.serve(Client(body, headers), path, method)

    async def complete(self, headers: Object | None = None, **body: object) -> Answer:
        return await self.ask({"prompt": "def f", "max_tokens": 4} | body, headers=headers)

    async def chat(self, content: object = "Hi", **body: object) -> Answer:
        messages = [{"role": "user", "content": content}]
        return await self.ask({"messages": messages, "max_tokens": 4} | body, "/v1/chat/completions")
