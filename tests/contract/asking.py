"""Asking an engine for text, whole or in pieces."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from contract.engine import Engine

Object = dict[str, Any]
PROMPT = "def add(first, second):\n    return"
DONE = "[DONE]"


async def complete(http: aiohttp.ClientSession, engine: Engine, **body: object) -> Object:
    """Return the engine's answer to a completion; the body is what differs from a greedy one of PROMPT."""
    async with http.post(f"{engine.url}/v1/completions", json=greedy(**body)) as answer:
        answer.raise_for_status()
        content: Object = await answer.json()
        return content


@asynccontextmanager
async def streaming(
    http: aiohttp.ClientSession, engine: Engine, **body: object
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open a streamed completion; to leave is to go away."""
    asked = greedy(stream=True, **body)
    async with http.post(f"{engine.url}/v1/completions", json=asked) as answer:
        answer.raise_for_status()
        yield answer


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Yield the data of each server-sent event as it comes, and refuse what is framed otherwise."""
    while framed := await answer.content.readuntil(b"\n\n"):
        text = framed.decode()
        if not text.startswith("data: ") or not text.endswith("\n\n"):
            raise ValueError(f"not an event: {text!r}")
        yield text.removeprefix("data: ").removesuffix("\n\n")


async def chunks(answer: aiohttp.ClientResponse) -> list[Object]:
    """Return all chunks of a stream that ends as it should."""
    data = [event async for event in events(answer)]
    if data[-1] != DONE:
        raise ValueError(f"the stream ended with {data[-1]!r}")
    return [json.loads(event) for event in data[:-1]]


def greedy(**body: object) -> Object:
    """Return the body of a completion that every run answers alike and that no end of text ends early."""
    return {"model": "tiny", "prompt": PROMPT, "temperature": 0, "ignore_eos": True} | body


def endless(**body: object) -> Object:
    """Return what to add to a body for a stream that outlives every test."""
    return {"max_tokens": 15_000} | body
