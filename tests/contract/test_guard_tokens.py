"""The guard counts as the engine does, since it asks the engine inside of its process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from contract.asking import DONE, PROMPT, Object, complete, events, greedy
from contract.guarded import GUARD, METERED, OUTPUT_PER_MINUTE, REQUESTS, Guarded
from pilothouse.plan.probes import PROBES

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
LONG = PROMPT * 150
"""More than REQUESTS allow, whichever tokenizer reads it."""
GITHUB = "github-personal-access-token"
SYSTEM = {"role": "system", "content": "Be short."}
USER = {"role": "user", "content": LONG}
BEGUN = {"role": "assistant", "content": "def add("}
PARTS = {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": LONG}]}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {}}}


@dataclass(frozen=True)
class Ask:
    """A request but for its limits."""

    name: str
    path: str
    body: Mapping[str, Any]


def _text(name: str, prompt: object, **fields: object) -> Ask:
    return Ask(name, COMPLETIONS, {"prompt": prompt, **fields})


def _chat(name: str, *messages: Object, **fields: object) -> Ask:
    return Ask(name, CHAT, {"messages": [*messages], **fields})


ALL = (
    _text("code", LONG),
    _text("texts of many scripts", "".join(PROBES) * 10),
    _text("decomposed letters", "e\u0301\u1e9b\u0323 " * 1000),
    _text("special tokens that are written out", "<|endoftext|><|im_start|>" * 1001),
    _text("a text without special tokens", LONG, add_special_tokens=False),
    _text("several texts", [LONG, "class Queue:", "  "]),
    _text("tokens", [100] * 1200),
    _text("several lists of tokens", [[100] * 900, [101, 102] * 60]),
    _text("two answers to one prompt", LONG, n=2, temperature=0.5),
    _text("an echo", LONG, echo=True),
    _chat("a chat", USER),
    _chat("a chat with a system message", SYSTEM, USER),
    _chat("a chat in parts", PARTS),
    _chat("a chat without the answer's turn", USER, add_generation_prompt=False),
    _chat("an answer to go on", USER, BEGUN, add_generation_prompt=False, continue_final_message=True),
    _chat("a chat with tools", USER, tools=[TOOL], tool_choice="none"),
    _chat("a chat with an effort", USER, reasoning_effort="high"),
)


async def _answered(
    http: aiohttp.ClientSession, guarded: Guarded, ask: Ask, **fields: object
) -> tuple[Object, Object]:
    """Return the answer and its line."""
    body = {"model": "tiny", "max_tokens": 3, "temperature": 0, "ignore_eos": True} | ask.body | fields
    async with http.post(guarded.url + ask.path, json=body) as answer:
        said: Object = await answer.json()
    return said, await guarded.line(answer.headers["x-request-id"])


async def test_a_prompt_is_refused_for_just_the_tokens_that_the_engine_reads_in_it(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    refused = {ask.name: await _answered(http, guarded, ask) for ask in ALL}
    async with guarded.settled(http, maxInputTokens=15_000):
        read = {ask.name: await _answered(http, guarded, ask) for ask in ALL}

    assert {line["finish"] for _, line in refused.values()} == {"rejected:context_length_exceeded"}
    assert {name: line["tokensIn"] for name, (_, line) in refused.items()} == {
        name: said["usage"]["prompt_tokens"] for name, (said, _) in read.items()
    }
    assert {name: (line["tokensIn"], line["tokensOut"]) for name, (_, line) in read.items()} == {
        name: (said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"])
        for name, (said, _) in read.items()
    }


async def test_the_longest_prompt_is_read_whole_and_no_token_more(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    longest = REQUESTS["maxInputTokens"]
    read, _ = await _answered(http, guarded, _text("", [100] * longest))
    refused, _ = await _answered(http, guarded, _text("", [100] * (longest + 1)))

    assert read["usage"]["prompt_tokens"] == longest
    assert refused["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "ask", [_text("completion", PROMPT), _chat("chat", SYSTEM)], ids=lambda ask: ask.name
)
@pytest.mark.parametrize(
    "options",
    [
        None,
        {},
        {"include_usage": False},
        {"continuous_usage_stats": True},
        {"include_usage": True},
        {"include_usage": True, "continuous_usage_stats": True},
    ],
    ids=json.dumps,
)
async def test_a_stream_is_counted_exactly_and_shows_usage_to_those_who_asked(
    guarded: Guarded, http: aiohttp.ClientSession, ask: Ask, options: Object | None
) -> None:
    whole, _ = await _answered(http, guarded, ask, n=2, temperature=0.5)
    asked = greedy(max_tokens=3, n=2, temperature=0.5, stream=True, stream_options=options)
    body = asked | {"prompt": None} | ask.body
    async with http.post(guarded.url + ask.path, json=body) as answer:
        *pieces, done = [event async for event in events(answer)]
    line = await guarded.line(answer.headers["x-request-id"])
    usages = [chunk["usage"] for chunk in map(json.loads, pieces) if chunk.get("usage")]

    assert done == DONE
    assert line["exact"]
    assert line["tokensIn"] == whole["usage"]["prompt_tokens"]
    assert line["tokensOut"] == whole["usage"]["completion_tokens"] == 6
    if options and options.get("include_usage"):
        assert usages[-1].items() >= {"prompt_tokens": line["tokensIn"], "completion_tokens": 6}.items()
        assert bool(usages[:-1]) == ("continuous_usage_stats" in options)
    else:
        assert not usages
        assert all(json.loads(piece)["choices"] for piece in pieces)


async def test_what_a_tenant_may_have_written_is_the_engines_count(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    headers = {"x-pilothouse-tenant": METERED}
    body = greedy(max_tokens=OUTPUT_PER_MINUTE)
    async with http.post(guarded.url + COMPLETIONS, json=body, headers=headers) as answer:
        assert (await answer.json())["usage"]["completion_tokens"] == OUTPUT_PER_MINUTE
    async with http.post(guarded.url + COMPLETIONS, json=body, headers=headers) as answer:
        assert answer.status == 429
        assert (await answer.json())["error"]["code"] == "tenant_output_tokens"


async def test_the_probe_texts_are_cut_as_prompts_are(guarded: Guarded, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{guarded.url}/pilothouse/probes") as answer:
        cut = (await answer.json())["tokens"]
    read = [
        await complete(http, guarded, prompt=text, max_tokens=1, return_token_ids=True) for text in PROBES
    ]

    assert cut == [answer["choices"][0]["prompt_token_ids"] for answer in read]


async def test_a_credential_is_found_in_tokens_as_in_their_text(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    rules = json.loads((GUARD / "credentials.json").read_text())
    example = next("".join(rule["example"]) for rule in rules if rule["kind"] == GITHUB)
    async with guarded.settled(http, secretScan="Report"):
        read, of_text = await _answered(
            http, guarded, _text("", f'TOKEN = "{example}"'), return_token_ids=True
        )
        tokens = read["choices"][0]["prompt_token_ids"]
        _, of_tokens = await _answered(http, guarded, _text("", tokens))
    async with guarded.settled(http, secretScan="Reject"):
        refused, _ = await _answered(http, guarded, _text("", tokens))

    assert of_text["credentials"] == of_tokens["credentials"] == {GITHUB: 1}
    assert refused["error"]["code"] == "credentials_found"
