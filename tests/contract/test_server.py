"""The HTTP server in front of the application: what it refuses never gets there."""

import aiohttp

from contract.engine import Engine


async def test_a_method_that_http_does_not_have_is_refused_by_the_parser(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    async with http.request("SPY", f"{usual.url}/health") as answer:
        assert (answer.status, await answer.text()) == (400, "Invalid HTTP request received.")
        assert "x-contract" not in answer.headers
