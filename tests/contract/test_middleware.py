"""A class named by --middleware wraps each request, and sees a stream's pieces one by one."""

import re

import aiohttp

from contract.asking import chunks, streaming
from contract.engine import Engine
from contract.waiting import until


async def test_a_middleware_adds_a_header_to_every_answer(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{usual.url}/health") as health, http.get(f"{usual.url}/nothing") as missing:
        assert health.headers["x-contract"] == missing.headers["x-contract"] == "seen"


async def test_a_middleware_sees_a_stream_in_its_pieces(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with streaming(http, usual, max_tokens=30) as answer:
        pieces = len(await chunks(answer)) + 1
    said = re.compile(rf"^marker: {pieces} pieces of /v1/completions$", re.MULTILINE)

    async def printed() -> bool:
        return said.search(usual.output()) is not None

    await until(printed, f"the middleware's word on {pieces} pieces")
