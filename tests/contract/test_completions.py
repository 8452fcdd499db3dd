"""How much text comes, for what, and what usage says of it."""

import aiohttp

from contract.asking import PROMPT, Object, complete
from contract.engine import Engine


async def _tokens(http: aiohttp.ClientSession, engine: Engine, text: str) -> list[int]:
    async with http.post(f"{engine.url}/tokenize", json={"prompt": text}) as answer:
        tokens: list[int] = (await answer.json())["tokens"]
        return tokens


def _finish(answer: Object) -> str:
    reason: str = answer["choices"][0]["finish_reason"]
    return reason


async def test_a_completion_is_16_tokens_long_unless_said_otherwise(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    answer = await complete(http, usual)
    assert answer["usage"]["completion_tokens"] == 16
    assert _finish(answer) == "length"


async def test_a_completion_ends_where_the_context_does(usual: Engine, http: aiohttp.ClientSession) -> None:
    answer = await complete(http, usual, prompt=[100] * 1000, max_tokens=500)
    assert answer["usage"]["completion_tokens"] == 24
    assert _finish(answer) == "length"


async def test_a_chat_without_a_limit_fills_the_context(usual: Engine, http: aiohttp.ClientSession) -> None:
    filler = await _tokens(http, usual, "x" * 4096)
    messages = [{"role": "user", "content": "x" * (980 * 4096 // len(filler))}]
    body = {"model": "tiny", "messages": messages, "temperature": 0, "ignore_eos": True}
    async with http.post(f"{usual.url}/v1/chat/completions", json=body) as answer:
        assert (await answer.json())["usage"]["total_tokens"] == 1024


async def test_the_cap_of_the_generation_config_holds_in_silence(
    capped: Engine, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{capped.url}/v1/models") as models:
        name = (await models.json())["data"][0]["id"]
    answer = await complete(http, capped, model=name, max_tokens=100)
    assert answer["usage"]["completion_tokens"] == 8
    assert _finish(answer) == "length"


async def test_an_unnamed_model_is_served_by_where_it_comes_from(
    capped: Engine, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{capped.url}/v1/models") as models:
        model = (await models.json())["data"][0]
    assert model["id"] == model["root"] == capped.model


async def test_the_first_served_name_answers_for_the_others(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    assert (await complete(http, usual, model="tiny-too"))["model"] == "tiny"


async def test_usage_counts_what_tokenize_counts(usual: Engine, http: aiohttp.ClientSession) -> None:
    usage = (await complete(http, usual, max_tokens=5))["usage"]
    assert usage["prompt_tokens"] == len(await _tokens(http, usual, PROMPT))
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5


async def test_tokens_turn_back_into_their_text(usual: Engine, http: aiohttp.ClientSession) -> None:
    text = "naïve = {'€': 1}\n\tpass  # 日本\n"
    body = {"tokens": await _tokens(http, usual, text)}
    async with http.post(f"{usual.url}/detokenize", json=body) as answer:
        assert await answer.json() == {"prompt": text}


async def test_a_greedy_completion_comes_out_the_same_again(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    first = await complete(http, usual, max_tokens=12)
    again = await complete(http, usual, max_tokens=12)
    assert first["choices"][0]["text"] == again["choices"][0]["text"]


async def test_a_stop_text_ends_a_completion_before_itself(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    text = (await complete(http, usual, max_tokens=30))["choices"][0]["text"]
    stop = text[len(text) // 2 :][:3]
    stopped = await complete(http, usual, max_tokens=30, stop=[stop])
    assert stopped["choices"][0]["text"] == text[: text.index(stop)]
    assert stopped["choices"][0]["stop_reason"] == stop
    assert _finish(stopped) == "stop"


async def test_the_fingerprint_names_version_and_configuration(
    usual: Engine, http: aiohttp.ClientSession
) -> None:
    first = (await complete(http, usual))["system_fingerprint"]
    assert first.startswith("vllm-0.32.0-")
    assert (await complete(http, usual))["system_fingerprint"] == first
