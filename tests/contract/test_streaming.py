"""A streamed answer: the same text in pieces, as server-sent events, as soon as they are there."""

import json

import aiohttp

from contract.asking import chunks, complete, endless, events, streaming
from contract.engine import Engine
from contract.scrape import scrape


async def test_the_pieces_make_up_the_whole(usual: Engine, http: aiohttp.ClientSession) -> None:
    whole = await complete(http, usual, max_tokens=20)
    async with streaming(http, usual, max_tokens=20) as answer:
        pieces = await chunks(answer)
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole["choices"][0]["text"]


async def test_only_the_last_piece_says_why_it_is_the_last(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, usual, max_tokens=5) as answer:
        reasons = [piece["choices"][0]["finish_reason"] for piece in await chunks(answer)]
    assert reasons[-1] == "length"
    assert set(reasons[:-1]) == {None}


async def test_all_pieces_have_one_id(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with streaming(http, usual, max_tokens=5) as answer:
        assert len({piece["id"] for piece in await chunks(answer)}) == 1


async def test_usage_comes_last_and_without_a_choice(usual: Engine, http: aiohttp.ClientSession) -> None:
    whole = await complete(http, usual, max_tokens=5)
    async with streaming(http, usual, max_tokens=5, stream_options={"include_usage": True}) as answer:
        *pieces, last = await chunks(answer)
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert last["usage"]["completion_tokens"] == 5
    assert not any(piece.get("usage") for piece in pieces)


async def test_the_first_piece_comes_while_the_rest_is_made(
    busy: Engine, http: aiohttp.ClientSession
) -> None:
    async with streaming(http, busy, **endless()) as answer:
        first = json.loads(await anext(events(answer)))
        assert first["choices"][0]["finish_reason"] is None
        assert (await scrape(http, busy)).value("vllm:num_requests_running") == 1
