"""The lane's limits: input, places, tenants and users, time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import virtual_time
from unit.guard.standin import Answer, Client, Engine, Object, Setup, settings, until

Guarded = Callable[..., Setup]


@asynccontextmanager
async def _running(setup: Setup, count: int, tenant: str = "", user: str = "") -> AsyncIterator[list[Client]]:
    """Have so many generations inside of the engine, and let them end afterwards."""
    headers = [
        {"x-pilothouse-tenant": tenant, "x-pilothouse-user": user or f"u{number}"} for number in range(count)
    ]
    clients = [Client({"prompt": "a", "max_tokens": 4}, each) for each in headers]
    before = setup.engine.running
    setup.engine.may_go_on.clear()
    serving = [asyncio.create_task(setup.serve(client)) for client in clients]
    await until(lambda: setup.engine.running == before + count)
    yield clients
    setup.engine.may_go_on.set()
    await asyncio.gather(*serving)


# Input.


async def test_a_short_text_passes_without_being_counted(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete(prompt="a" * 80)).status == 200
    assert setup.engine.questions == []


async def test_a_long_text_is_counted_by_the_engine(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete(prompt="a" * 100)).status == 200
    assert setup.engine.questions == [{"prompt": "a" * 100}]


async def test_a_text_over_the_cap_is_refused_with_both_numbers(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.complete(prompt="a" * 101)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert "101" in answer.error["message"]
    assert "100" in answer.error["message"]
    assert setup.engine.bodies == []
    assert setup.line.items() >= {"tokensIn": 101, "tokensOut": 0}.items()


async def test_a_text_far_over_the_cap_never_gets_to_the_tokenizer(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete(prompt="a" * 6400)).error["code"] == "context_length_exceeded"
    assert len(setup.engine.questions) == 1
    for prompt in ("a" * 6401, ["a" * 3200, "b" * 3201]):
        answer = await setup.complete(prompt=prompt)
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        assert "6401 characters" in answer.error["message"]
        assert "6400" in answer.error["message"]
    assert len(setup.engine.questions) == 1


async def test_special_tokens_are_counted_as_they_will_be(guarded: Guarded) -> None:
    setup = guarded()
    await setup.complete(prompt="a" * 100, add_special_tokens=False)
    assert setup.engine.questions == [{"prompt": "a" * 100, "add_special_tokens": False}]


async def test_a_text_that_a_tokenizer_may_lengthen_is_counted_earlier(guarded: Guarded) -> None:
    setup = guarded()
    await setup.complete(prompt="é" * 20)
    assert setup.engine.questions == [{"prompt": "é" * 20}]


async def test_token_ids_are_counted_by_their_number(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete(prompt=[5] * 100)).status == 200
    assert (await setup.complete(prompt=[5] * 101)).error["code"] == "context_length_exceeded"


async def test_the_prompts_of_a_batch_are_counted_together(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete(prompt=["a" * 50, "b" * 51])).error["code"] == "context_length_exceeded"
    assert (await setup.complete(prompt=[[1] * 50, [2] * 51])).error["code"] == "context_length_exceeded"
    assert (await setup.complete(prompt=["a" * 50, "b" * 50])).status == 200


async def test_a_chat_is_counted_with_its_template(guarded: Guarded) -> None:
    setup = guarded(requests={"maxInputTokens": 200})
    assert (await setup.chat("a" * 40)).status == 200
    assert (await setup.chat("a" * 180)).error["code"] == "context_length_exceeded"
    template, long = setup.engine.questions
    assert template == {"messages": [{"role": "user", "content": "x"}]}
    assert long == {"messages": [{"role": "user", "content": "a" * 180}]}


async def test_a_chat_with_tools_is_counted_with_them(guarded: Guarded) -> None:
    setup = guarded()
    tools = [{"type": "function", "function": {"name": "f"}}]
    await setup.chat("a", tools=tools)
    assert setup.engine.questions[0]["tools"] == tools


@pytest.mark.parametrize(
    ("fields", "kwargs"),
    [
        ({}, {"reasoning_effort": "high", "enable_thinking": True}),
        (
            {"chat_template_kwargs": {"date": "today", "reasoning_effort": "low"}},
            {"date": "today", "reasoning_effort": "high", "enable_thinking": True},
        ),
        (
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"reasoning_effort": "high", "enable_thinking": False},
        ),
    ],
)
async def test_a_chat_is_counted_with_what_the_template_is_told_of_reasoning(
    guarded: Guarded, fields: Object, kwargs: Object
) -> None:
    setup = guarded()
    await setup.chat("a", reasoning_effort="high", **fields)
    assert setup.engine.questions[0]["chat_template_kwargs"] == kwargs


async def test_what_the_engine_can_t_count_is_refused_with_its_words(guarded: Guarded) -> None:
    class Refusing(Engine):
        async def _tokens(self, path: str, body: object, send: object) -> None:  # noqa: ARG002
            await send({"type": "http.response.start", "status": 400, "headers": []})  # type: ignore[operator]
            body = b'{"error": {"message": "roles must alternate"}}'
            await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    setup = guarded()
    setup.use(Refusing())
    answer = await setup.complete(prompt="a" * 100)
    assert (answer.status, answer.error["code"]) == (400, "prompt_not_counted")
    assert "roles must alternate" in answer.error["message"]


# Places.


async def test_a_full_lane_refuses_and_says_when_to_come_back(guarded: Guarded) -> None:
    setup = guarded()
    async with _running(setup, 3):
        answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
    refused = next(line for line in setup.lines if line["status"] == 429)
    assert refused["finish"] == "rejected:queue_full"


async def test_a_place_is_free_again_when_its_generation_has_ended(guarded: Guarded) -> None:
    setup = guarded()
    for _ in range(4):
        async with _running(setup, 3):
            pass
    assert (await setup.complete()).status == 200


async def test_each_answer_of_a_request_takes_a_place(guarded: Guarded) -> None:
    setup = guarded()
    async with _running(setup, 1):
        assert (await setup.complete(n=3)).status == 429
    async with _running(setup, 2):
        assert (await setup.complete(prompt=["a", "b"])).status == 429
    assert (await setup.complete(n=3)).status == 200
    assert (await setup.complete(n=4)).error["code"] == "too_many_sequences"
    assert (await setup.complete(n=2, prompt=["a", "b"])).error["code"] == "too_many_sequences"


WAITING = {"perReplica": 1, "queuedPerReplica": 0, "onFull": "Wait", "maxWaitSeconds": 5}


async def test_who_waits_is_let_in_in_the_order_of_arrival(guarded: Guarded) -> None:
    setup = guarded(concurrency=WAITING)
    async with _running(setup, 1):
        waiting = [asyncio.create_task(setup.complete(prompt=name)) for name in "bcd"]
        await _settled()
        assert setup.engine.running == 1
    answers = await asyncio.gather(*waiting)
    assert [answer.status for answer in answers] == [200] * 3
    assert [body["prompt"] for body in setup.engine.bodies] == ["a", "b", "c", "d"]
    assert all(line["queuedSeconds"] > 0 for line in setup.lines[1:])


async def test_who_has_waited_long_enough_is_refused(guarded: Guarded) -> None:
    setup = guarded(concurrency=WAITING | {"maxWaitSeconds": 0.02})
    async with _running(setup, 1):
        answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (429, "queue_full")
    assert max(line["queuedSeconds"] for line in setup.lines) >= 0.02


async def test_who_hangs_up_while_waiting_gives_way(guarded: Guarded) -> None:
    setup = guarded(concurrency=WAITING)
    async with _running(setup, 1):
        leaver = Client({"prompt": "b"})
        leaving = asyncio.create_task(setup.serve(leaver))
        stayer = asyncio.create_task(setup.complete(prompt="c"))
        await _settled()
        leaver.hang_up()
        await leaving
    assert (await stayer).status == 200
    assert [body["prompt"] for body in setup.engine.bodies] == ["a", "c"]
    assert sorted(line["finish"] for line in setup.lines) == ["cancelled", "length", "length"]
    assert leaver.answer.status is None


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# Tenants and users.

TENANTS = {"ide": {"concurrentRequests": 2, "perUserConcurrentRequests": 1}, "batch": {}}
ROOMY = {"perReplica": 10}


async def test_a_tenant_s_limit_is_named(guarded: Guarded) -> None:
    setup = guarded(tenants=TENANTS, concurrency=ROOMY)
    async with _running(setup, 2, "ide"):
        answer = await setup.complete(headers={"x-pilothouse-tenant": "ide"})
        assert (await _complete_as("batch", setup)).status == 200
    assert (answer.status, answer.error["code"]) == (429, "tenant_concurrency")
    assert answer.headers["retry-after"] == "1"
    assert (await _complete_as("ide", setup)).status == 200


async def _complete_as(tenant: str, setup: Setup) -> Answer:
    setup.engine.may_go_on.set()
    answer = await setup.complete(headers={"x-pilothouse-tenant": tenant})
    setup.engine.may_go_on.clear()
    return answer


async def test_a_user_s_limit_is_named(guarded: Guarded) -> None:
    setup = guarded(tenants=TENANTS, concurrency=ROOMY)
    headers = {"x-pilothouse-tenant": "ide", "x-pilothouse-user": "ada"}
    async with _running(setup, 1, "ide", "ada"):
        assert (await setup.complete(headers=headers)).error["code"] == "user_concurrency"


async def test_a_share_of_nothing_lets_nobody_in(guarded: Guarded) -> None:
    setup = guarded(tenants={"ide": {"concurrentRequests": 0}})
    answer = await setup.complete(headers={"x-pilothouse-tenant": "ide"})
    assert (answer.status, answer.error["code"]) == (429, "tenant_concurrency")


async def test_what_never_fits_a_tenant_is_no_429(guarded: Guarded) -> None:
    setup = guarded(tenants=TENANTS, concurrency=ROOMY)
    answer = await setup.complete(headers={"x-pilothouse-tenant": "ide"}, n=3)
    assert (answer.status, answer.error["code"]) == (400, "too_many_sequences")


# Settings that change.


async def test_changed_settings_hold_and_lose_no_count(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.FILE_CHECK_SECONDS", 0)
    setup = guarded()
    async with _running(setup, 3):
        _write(setup, json.dumps(settings(concurrency={"perReplica": 3})))
        async with _running(setup, 1):
            assert (await setup.complete()).status == 429
        setup.engine.may_go_on.clear()
    _write(setup, json.dumps(settings(concurrency={"perReplica": 0, "queuedPerReplica": 0})))
    assert (await setup.complete()).status == 429


async def test_broken_settings_leave_the_last_good_ones(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.FILE_CHECK_SECONDS", 0)
    setup = guarded()
    await setup.complete()
    _write(setup, '{"identity": {}, "requests": []}')
    assert (await setup.complete()).status == 200
    assert (await setup.complete()).status == 200
    events = [line["event"] for line in setup.lines]
    assert events == ["generation", "file", "generation", "generation"], "the trouble is said once"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        json.dumps(settings(requests={"maxInputTokens": "many"})),
        json.dumps(settings(requests={"maxOutputTokens": None})),
        json.dumps(settings(requests={"timeoutSeconds": -1})),
        json.dumps(settings(requests={"secretScan": "Perhaps"})),
        json.dumps(settings(concurrency={"perReplica": True})),
        json.dumps(settings(tenants={"a": {"concurrentRequests": -1}})),
        json.dumps(settings() | {"identity": {"revision": "a\r\nb: c"}}),
    ],
)
async def test_without_settings_nothing_is_generated(guarded: Guarded, broken: str) -> None:
    setup = guarded()
    _write(setup, broken)
    answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (503, "no_settings")
    assert setup.lines[-1]["finish"] == "rejected:no_settings"
    assert (await setup.ask(path="/health", method="GET")).status == 200


async def test_fields_of_a_later_operator_are_no_trouble(guarded: Guarded) -> None:
    setup = guarded(requests={"later": 1})
    assert (await setup.complete()).status == 200


def _write(setup: Setup, text: str) -> None:
    (setup.folder / "settings.json").write_text(text)


# Time.


async def test_what_is_not_answered_in_time_is_a_504(guarded: Guarded) -> None:
    setup = guarded(requests={"timeoutSeconds": 0.05})
    setup.engine.may_go_on.clear()
    for stream in (False, True):
        answer = await setup.complete(stream=stream)
        assert (answer.status, answer.error["code"]) == (504, "timeout")
        assert setup.engine.running == 0
    assert [(line["status"], line["finish"]) for line in setup.lines] == [(504, "timeout")] * 2


def test_a_stream_that_takes_too_long_ends_with_an_error_event(guarded: Guarded) -> None:
    setup = guarded(requests={"timeoutSeconds": 0.05})
    setup.engine.pauses_after = 3
    answer = virtual_time.run(setup.complete(stream=True, max_tokens=8))
    *tokens, error, done = answer.events
    assert len(tokens) == 3
    assert json.loads(error)["error"]["code"] == "timeout"
    assert done == "[DONE]"
    assert answer.ended
    assert setup.engine.running == 0
    expected = {"finish": "timeout", "status": 200, "exact": False, "tokensOut": 3}
    assert setup.line.items() >= expected.items()


async def test_an_engine_that_does_not_hear_is_left_by_force(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.LEAVE_SECONDS", 0.05)
    setup = guarded(requests={"timeoutSeconds": 0.05})
    setup.engine.is_deaf = True
    setup.engine.may_go_on.clear()
    assert (await setup.complete()).status == 504
    assert setup.engine.running == 0


async def test_a_client_that_does_not_read_holds_no_place(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.LEAVE_SECONDS", 0.05)
    setup = guarded(requests={"timeoutSeconds": 0.05})
    client = Client({"prompt": "a", "stream": True})
    client.reads.clear()
    await setup.serve(client)
    assert setup.engine.running == 0
    assert setup.line["finish"] == "timeout"


async def test_a_body_that_does_not_come_is_a_408(guarded: Guarded) -> None:
    class Slow(Client):
        async def receive(self) -> dict[str, object]:
            if not self._parts:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": self._parts.pop(), "more_body": True}

    setup = guarded(requests={"timeoutSeconds": 0.05})
    answer = await setup.serve(Slow({"prompt": "a"}))
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert setup.line["finish"] == "timeout"


def test_who_waits_too_long_for_a_place_has_a_504(guarded: Guarded) -> None:
    setup = guarded(concurrency=WAITING, requests={"timeoutSeconds": 0.05})
    setup.engine.may_go_on.clear()

    async def ask_twice() -> tuple[Answer, Answer]:
        return await asyncio.gather(setup.complete(), setup.complete())

    answers = virtual_time.run(ask_twice())
    assert [answer.status for answer in answers] == [504, 504]
    assert len(setup.engine.bodies) == 1
