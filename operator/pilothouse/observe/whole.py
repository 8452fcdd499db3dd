"""A streamed answer that was read to its end and is sound."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Self

from pilothouse.errors import WrongAnswer
from pilothouse.observe.engineapi import Chunk, Completion, Usage

_ENDS: Final = frozenset({"stop", "length"})


@dataclass(frozen=True, slots=True)
class Whole:
    """What is kept of a stream: when its first token came, from the request on, and the engine's counts."""

    first_token_seconds: float
    usage: Usage

    @classmethod
    async def of(cls, stream: AbstractAsyncContextManager[AsyncIterator[Chunk]], asked: Completion) -> Self:
        """Read a stream to its end; raises WrongAnswer where it is not what was asked for."""
        began = _now()
        async with stream as chunks:
            return await cls._read(chunks, asked, began)

    @classmethod
    async def _read(cls, chunks: AsyncIterator[Chunk], asked: Completion, began: float) -> Self:
        first: float | None = None
        pieces: list[Chunk] = []
        async for chunk in chunks:
            first = first or _now()
            pieces.append(_checked(chunk, asked))
            # Beside the tokens' own pieces, one may come for the end and one for the usage.
            if len(pieces) > asked.max_tokens + 2:
                raise WrongAnswer(f"the answer goes on after the {asked.max_tokens} tokens asked for")
        if first is None:
            raise WrongAnswer("the stream is empty")
        _expect_end(pieces)
        return cls(first - began, _usage(pieces, asked))


def _checked(chunk: Chunk, asked: Completion) -> Chunk:
    if chunk.model != asked.model:
        raise WrongAnswer(f"the answer is of {chunk.model!r}, not of {asked.model!r}")
    return chunk


def _expect_end(pieces: list[Chunk]) -> None:
    ends = [choice.finish_reason for piece in pieces for choice in piece.choices]
    if not ends or ends[-1] not in _ENDS:
        raise WrongAnswer(f"the answer ended with {ends[-1] if ends else None!r}")


def _usage(pieces: list[Chunk], asked: Completion) -> Usage:
    usage = pieces[-1].usage
    if not usage:
        raise WrongAnswer("the stream ended without usage")
    if not 0 < usage.completion_tokens <= asked.max_tokens:
        raise WrongAnswer(f"{usage.completion_tokens} tokens were counted, {asked.max_tokens} were asked for")
    return usage


def _now() -> float:
    return asyncio.get_running_loop().time()
