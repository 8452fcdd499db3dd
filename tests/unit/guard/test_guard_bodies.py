"""What a body may ask for, and what becomes of it on its way to the engine."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from unit.guard.standin import Client, Setup

Guarded = Callable[..., Setup]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"prompt": NaN}',
        b'{"prompt": "a", "top_p": 1e999}',
        b"[" * 100_000,
        b'{"prompt": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt": ' + b"9" * 5000 + b"}",
        b'\xff\xfe{"prompt": "a"}',
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(guarded: Guarded, body: bytes) -> None:
    setup = guarded()
    answer = await setup.ask(body)
    assert answer.status == 400
    assert answer.error["code"] in ("invalid_json", "invalid_value")
    assert setup.line["finish"].startswith("rejected:invalid_")
    assert setup.engine.bodies == []


async def test_of_a_key_that_is_there_twice_the_engine_sees_what_was_checked(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.ask(b'{"prompt": "a", "max_tokens": 1, "max_tokens": 9999}')
    assert answer.error["code"] == "max_tokens_exceeded"
    await setup.ask(b'{"prompt": "a", "max_tokens": 9999, "max_tokens": 1}')
    assert setup.engine.bodies[0]["max_tokens"] == 1


async def test_a_body_over_the_bound_is_refused(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.serve(Client({}, parts=[b" " * (1 << 19)] * 3))
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert setup.line["status"] == 413


async def test_the_bound_of_a_body_grows_with_the_input_cap(guarded: Guarded) -> None:
    setup = guarded(requests={"maxInputTokens": 100_000})
    padded = json.dumps({"prompt": "a", "max_tokens": 1}).encode() + b" " * (2 << 20)
    assert (await setup.serve(Client(padded))).status == 200


async def test_a_body_may_come_in_parts(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.serve(Client({}, parts=[b'{"pro', b'mpt": "a', b'"}']))).status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("best_of", 2),
        ("chat_template", "{{ x }}"),
        ("documents", [{"title": "a", "text": "b"}]),
        ("logits_processors", ["os.system"]),
        ("mm_processor_kwargs", {}),
        ("prompt_embeds", "AAAA"),
        ("prompt_logprobs", 0),
        ("truncate_prompt_tokens", -1),
        ("use_beam_search", True),
        ("vllm_xargs", {"a": 1}),
    ],
)
async def test_a_field_that_gets_around_a_limit_is_refused(
    guarded: Guarded, name: str, value: object
) -> None:
    setup = guarded()
    answer = await setup.complete(**{name: value})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "not_allowed", name)
    assert setup.engine.bodies == []


@pytest.mark.parametrize("name", ["prompt_logprobs", "use_beam_search", "chat_template"])
async def test_a_field_that_is_off_is_no_matter(guarded: Guarded, name: str) -> None:
    assert (await guarded().complete(**{name: None})).status == 200


async def test_a_field_that_steers_the_engine_is_taken_out(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.complete(
        priority=-9,
        request_id="x",
        session_id="x",
        stream_interval=1000,
        kv_transfer_params={"a": 1},
        ec_transfer_params={},
    )
    assert answer.status == 200
    assert setup.engine.bodies[0].keys() == {"prompt", "max_tokens", "cache_salt"}


async def test_a_header_that_is_not_a_client_s_is_taken_out(guarded: Guarded) -> None:
    setup = guarded()
    steering = {"x-vllm-priority": "-9", "x-data-parallel-rank": "0", "x-session-id": "s"}
    others = {"endpoint-load-metrics-format": "json", "x-request-id": "mine", "content-length": "1"}
    await setup.complete(headers={"accept": "*/*"} | steering | others)
    inner = dict(setup.engine.scopes[0]["headers"])
    assert inner.keys() == {b"accept", b"x-request-id", b"content-length"}
    assert inner[b"x-request-id"] == b"mine"
    assert int(inner[b"content-length"]) > 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "min_tokens"])
async def test_more_output_than_the_lane_s_is_refused_with_the_cap(guarded: Guarded, name: str) -> None:
    answer = await guarded().complete(**{name: 33})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "max_tokens_exceeded", name)
    assert "33" in answer.error["message"]
    assert "32" in answer.error["message"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "min_tokens", "n"])
@pytest.mark.parametrize("value", ["8", 8.0, True, [8]])
async def test_a_number_that_the_engine_would_only_guess_is_refused(
    guarded: Guarded, name: str, value: object
) -> None:
    answer = await guarded().complete(**{name: value})
    assert (answer.status, answer.error["param"]) == (400, name)


@pytest.mark.parametrize("value", ["true", 1, 0, []])
async def test_a_stream_that_the_engine_would_only_guess_is_refused(guarded: Guarded, value: object) -> None:
    assert (await guarded().complete(stream=value)).error["param"] == "stream"


async def test_the_operator_s_own_preflight_passes(guarded: Guarded) -> None:
    setup = guarded()
    body = {"model": "m", "prompt": [7] * 100, "max_tokens": 32, "temperature": 0, "ignore_eos": True}
    answer = await setup.ask(body | {"stream": True, "stream_options": {"include_usage": True}})
    assert answer.status == 200
    assert setup.engine.bodies[0].items() >= body.items()
    assert (await setup.ask(body | {"prompt": [7] * 101, "max_tokens": 1})).status == 400


async def test_tenants_don_t_share_their_prefixes(guarded: Guarded) -> None:
    setup = guarded()
    for tenant in ("a", "a", "b"):
        await setup.complete(headers={"x-pilothouse-tenant": tenant}, cache_salt="guess")
    await setup.complete(headers={"x-pilothouse-tenant": "a"})
    first, again, other, unsalted = [body["cache_salt"] for body in setup.engine.bodies]
    assert first == again
    assert len({first, other, unsalted, "guess"}) == 4


async def test_who_does_not_stream_is_refused_where_streaming_is_required(guarded: Guarded) -> None:
    setup = guarded(requests={"streaming": "Required"})
    answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (400, "streaming_required")
    assert (await setup.complete(stream=True)).status == 200


@pytest.mark.parametrize(
    "prompt",
    [
        None,
        "",
        [],
        [1.0],
        ["a", 1],
        [True],
        [[]],
        [["a"]],
        {"a": 1},
        7,
        [[1], "a"],
        "\ud800",
        ["a", "\udfff"],
    ],
)
async def test_a_prompt_of_another_form_is_refused(guarded: Guarded, prompt: object) -> None:
    setup = guarded()
    answer = await setup.complete(prompt=prompt)
    assert (answer.status, answer.error["param"]) == (400, "prompt")
    assert setup.line["finish"] == "rejected:invalid_value"


@pytest.mark.parametrize("messages", [None, [], "Hi", ["Hi"], {"role": "user"}])
async def test_messages_of_another_form_are_refused(guarded: Guarded, messages: object) -> None:
    answer = await guarded().ask({"messages": messages}, "/v1/chat/completions")
    assert (answer.status, answer.error["param"]) == (400, "messages")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"image_url": "http://169.254.169.254/"},
        {"type": "text", "text": "a", "image_url": "http://169.254.169.254/"},
        7,
    ],
)
async def test_a_message_of_anything_but_text_is_refused(guarded: Guarded, part: object) -> None:
    answer = await guarded().chat([{"type": "text", "text": "a"}, part])
    assert (answer.status, answer.error["code"]) == (400, "only_text")


async def test_a_template_can_t_come_in_by_the_template_s_arguments(guarded: Guarded) -> None:
    answer = await guarded().chat(chat_template_kwargs={"chat_template": "{{ x }}"})
    assert (answer.status, answer.error["code"]) == (400, "not_allowed")


@pytest.mark.parametrize("options", [7, "x", [True], {"include_usage": "yes"}])
async def test_stream_options_of_another_form_are_refused(guarded: Guarded, options: Any) -> None:
    assert (await guarded().complete(stream=True, stream_options=options)).status == 400


@pytest.mark.parametrize("name", ["x-pilothouse-tenant", "x-pilothouse-user"])
async def test_a_caller_that_is_no_name_is_refused(guarded: Guarded, name: str) -> None:
    setup = guarded()
    answer = await setup.complete(headers={name: 'x","user":"root'})
    assert (answer.status, answer.error["code"]) == (400, "invalid_header")
    assert setup.line["tenant"] is None


async def test_a_caller_that_is_named_twice_is_refused(guarded: Guarded) -> None:
    client = Client({"prompt": "a"})
    client.headers += [(b"x-pilothouse-tenant", b"a"), (b"x-pilothouse-tenant", b"b")]
    assert (await guarded().serve(client)).error["code"] == "duplicate_header"


async def test_a_request_id_that_is_none_is_replaced(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.complete(headers={"x-request-id": "a b\x7f"})
    assert answer.headers["x-request-id"] == setup.line["requestId"]
    assert " " not in setup.line["requestId"]
