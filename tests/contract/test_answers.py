"""Each answer has the status, the headers and the shape of the real engine's; an error has its very words."""

import aiohttp
import pytest

from contract.cases import CASES, Case
from contract.engine import Engine
from contract.recording import Recording
from contract.shape import shape


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_answer_is_the_recorded_one(
    case: Case, usual: Engine, http: aiohttp.ClientSession, answers: Recording
) -> None:
    body = {"data": case.body} if isinstance(case.body, str) else {"json": case.body}
    async with http.request(case.method, usual.url + case.path, headers=case.headers, **body) as answer:
        answers.check(case.name, await shape(answer))


async def test_the_version_is_the_contracts(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{usual.url}/version") as answer:
        assert await answer.json() == {"version": "0.32.0"}


async def test_metrics_come_as_prometheus_text(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{usual.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"


async def test_the_models_are_the_served_names_in_order(usual: Engine, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{usual.url}/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["tiny", "tiny-too"]


async def test_a_request_keeps_the_id_that_its_client_gave_it(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    headers = {"X-Request-Id": "from-the-client"}
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1}
    async with http.post(f"{usual.url}/v1/completions", json=body, headers=headers) as answer:
        assert answer.headers["X-Request-Id"] == "from-the-client"
        assert (await answer.json())["id"] == "cmpl-from-the-client"
