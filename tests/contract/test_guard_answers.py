"""Through the guard an answer has the status and the shape that was recorded of the engine itself."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from contract.cases import CASES, Case
from contract.engine import Kind
from contract.guarded import PINS, Guarded
from contract.recording import Recording
from contract.shape import shape

PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/models")
ASKED = [case for case in CASES if case.path in PATHS and case.name != "a wrong method"]
# As the engine that was recorded, and with room for all that it refuses itself.
FLAGS = ("--max-model-len", "1024", "--served-model-name", "tiny", "tiny-too")
# What has no prompt or a field of another type; what is not said to be JSON is read as if it were.
REFUSED_BY_THE_GUARD = {
    "not JSON",
    "a JSON list",
    "no body",
    "not said to be JSON",
    "no prompt",
    "completion: an empty prompt",
    "completion: no prompts",
    "completion: a prompt that is a number",
    "completion: tokens in words",
    "completion: stream in words",
    "chat: no messages",
    "chat: messages missing",
}
# vLLM moves the fingerprint to the usage, for which the guard had asked, and not the client.
WITHOUT_USAGE = {"completion: streamed", "chat: streamed"}
ROOM = {"maxInputTokens": 1_000_000, "maxOutputTokens": 1_000_000}


@pytest.fixture(scope="module")
def roomy(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """An engine whose guard refuses for no length."""
    engine = Guarded(kind, tmp_path_factory.mktemp("guard"), *FLAGS, **ROOM)
    try:
        engine.wait_ready()
        yield engine
    finally:
        engine.kill()


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
async def test_an_answer_is_the_recorded_one_or_the_guards_refusal_of_the_same_status(
    case: Case, roomy: Guarded, http: aiohttp.ClientSession, answers: Recording
) -> None:
    body = {"data": case.body} if isinstance(case.body, str) else {"json": case.body}
    async with http.request(case.method, roomy.url + case.path, headers=case.headers, **body) as answer:
        seen, recorded = await shape(answer), answers.fact(case.name)
        assert answer.headers.items() >= PINS.items()

    assert seen["status"] == recorded["status"]
    assert seen["headers"]["content-type"] == recorded["headers"]["content-type"]
    if case.name in REFUSED_BY_THE_GUARD:
        assert seen["body"]["error"].keys() == recorded["body"]["error"].keys()
        assert seen["body"]["error"]["code"] in ("invalid_json", "invalid_value")
    elif case.name in WITHOUT_USAGE:
        assert seen["body"] == [_without_fingerprint(chunk) for chunk in recorded["body"]]
    else:
        assert seen["body"] == recorded["body"]


def _without_fingerprint(chunk: Any) -> Any:
    return (
        {name: kind for name, kind in chunk.items() if name != "system_fingerprint"}
        if isinstance(chunk, dict)
        else chunk
    )
