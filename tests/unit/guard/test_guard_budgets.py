"""Budgets by the minute: requests, input and output of tenants and users, on a clock of the test."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.guard.pilothouse_guard import LEAST, MINUTE, SLOT_SECONDS, Budget
from unit.guard.standin import Answer, Client, Engine, Setup, settings, until

Guarded = Callable[..., Setup]

ROOMY = {"perReplica": 100}


def tenants(per_minute: dict[str, float] | None = None, **per_user: float) -> dict[str, Any]:
    """One tenant with these limits, and one without any."""
    return {"ide": {"perMinute": per_minute or {}, "perUserPerMinute": per_user}, "free": {}}


async def ask(setup: Setup, user: str = "ada", tenant: str = "ide", **body: Any) -> Answer:
    headers = {"x-pilothouse-tenant": tenant, "x-pilothouse-user": user}
    return await setup.complete(headers=headers, **body)


async def served(setup: Setup, count: int, **request: Any) -> int:
    """Ask so many times, and count those that were served."""
    answers = [await ask(setup, **request) for _ in range(count)]
    assert {answer.status for answer in answers} <= {200, 429}
    return sum(answer.status == 200 for answer in answers)


async def test_a_tenants_requests_are_let_in_up_to_the_limit(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 3}))
    assert await served(setup, 9) == 3
    assert len(setup.engine.bodies) == 3


async def test_who_is_over_a_limit_is_told_which_and_when_to_come_back(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1}))
    await ask(setup)
    setup.seconds += 20.3
    answer = await ask(setup)
    assert (answer.status, answer.error["code"]) == (429, "tenant_requests")
    assert "1 requests a minute" in answer.error["message"]
    assert answer.headers["retry-after"] == "40"
    assert setup.lines[-1]["finish"] == "rejected:tenant_requests"
    setup.seconds += 40
    assert (await ask(setup)).status == 200


async def test_a_users_limit_is_no_other_users(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants(requests=2))
    assert await served(setup, 5) == 2
    assert (await ask(setup)).error["code"] == "user_requests"
    assert await served(setup, 5, user="bob") == 2


async def test_users_without_a_name_share_one_limit(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants(requests=2))
    assert await served(setup, 5, user="") == 2


async def test_a_tenants_limit_is_no_other_tenants(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1}))
    assert await served(setup, 5) == 1
    assert await served(setup, 5, tenant="free") == 5


async def test_a_user_of_the_same_name_is_another_tenants(guarded: Guarded) -> None:
    both = tenants(requests=1)["ide"]
    setup = guarded(tenants={"ide": both, "data": both})
    assert await served(setup, 2) == 1
    assert await served(setup, 2, tenant="data") == 1


# Input.


async def test_input_is_charged_before_it_runs(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"inputTokens": 50}), concurrency=ROOMY)
    setup.engine.may_go_on.clear()
    running = asyncio.create_task(ask(setup, prompt="a" * 60))
    await until(lambda: setup.engine.running == 1)
    answer = await ask(setup)
    assert (answer.status, answer.error["code"]) == (429, "tenant_input_tokens")
    setup.engine.may_go_on.set()
    assert (await running).status == 200


async def test_input_is_charged_by_the_engines_own_count(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"inputTokens": 100}))
    assert await served(setup, 9, prompt="a" * 10) == 10 - 1
    assert len(setup.engine.questions) == 9
    assert await served(setup, 9, prompt="a" * 10) == 1


async def test_who_is_over_the_limit_of_input_is_not_even_counted(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"inputTokens": 10}))
    await ask(setup, prompt="a" * 10)
    counted = len(setup.engine.questions)
    assert await served(setup, 5, prompt="a" * 90) == 0
    assert len(setup.engine.questions) == counted


async def test_who_has_no_limit_of_input_is_not_counted_for_it(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 9, "outputTokens": 9}))
    await ask(setup)
    assert setup.engine.questions == []


async def test_token_ids_and_chats_are_charged_too(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"inputTokens": 20}))
    assert await served(setup, 5, prompt=[7] * 10) == 2
    setup.seconds += MINUTE + 1
    headers = {"x-pilothouse-tenant": "ide"}
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    statuses = [(await setup.ask(body, "/v1/chat/completions", headers=headers)).status for _ in range(2)]
    assert statuses == [200, 429]


async def test_a_request_larger_than_a_share_runs_and_the_next_ones_wait_for_it(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"inputTokens": 20}))
    assert await served(setup, 2, prompt="a" * 90) == 1
    waited = 0
    while await served(setup, 1, prompt="a") == 0:
        setup.seconds += 1
        waited += 1
    assert 4 * 60 <= waited <= 5 * 60


# Output.


async def test_output_is_charged_as_it_streams_and_no_stream_is_cut(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"outputTokens": 8}), concurrency=ROOMY)
    setup.engine.pauses_after = 8
    client = Client({"prompt": "a", "max_tokens": 24, "stream": True}, {"x-pilothouse-tenant": "ide"})
    running = asyncio.create_task(setup.serve(client))
    await until(lambda: len(client.answer.parts) == 8)
    answer = await ask(setup)
    assert (answer.status, answer.error["code"]) == (429, "tenant_output_tokens")
    setup.engine.pauses_after = None
    setup.engine.may_go_on.set()
    assert len((await running).events) == 24 + 1


async def test_output_over_the_limit_is_owed(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants(outputTokens=8))
    for stream in (True, False):
        assert (await ask(setup, max_tokens=24, stream=stream)).status == 200
        for minutes in (1, 2):
            setup.seconds += MINUTE
            assert (await ask(setup, max_tokens=1)).error["code"] == "user_output_tokens", minutes
        setup.seconds += MINUTE + 1


async def test_the_engines_own_count_settles_what_was_streamed(guarded: Guarded) -> None:
    class Chunked(Engine):
        async def _stream(self, _: int, usage: Any, body: Any, send: Any) -> None:
            await super()._stream(1, usage, body, send)

    setup = guarded(tenants=tenants({"outputTokens": 20}))
    setup.use(Chunked())
    assert (await ask(setup, max_tokens=20, stream=True)).status == 200
    assert (await ask(setup)).error["code"] == "tenant_output_tokens"


# What costs nothing.


async def test_what_the_engine_refuses_costs_nothing(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1, "inputTokens": 5}))
    for status in (400, 404, 503):
        setup.engine.status = status
        assert (await ask(setup)).status == status
    setup.engine.status = 200
    assert await served(setup, 2) == 1


async def test_what_the_engine_fails_before_the_first_token_costs_nothing(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1, "inputTokens": 5}))
    setup.engine.failure = RuntimeError()
    assert (await ask(setup)).status == 500
    setup.engine.failure = None
    assert await served(setup, 2) == 1


async def test_what_the_engine_fails_in_the_middle_is_charged(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1}))
    setup.engine.failure, setup.engine.fails_after = RuntimeError(), 2
    await ask(setup, stream=True)
    assert (await ask(setup)).error["code"] == "tenant_requests"


async def test_what_the_guard_refuses_costs_nothing(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1, "inputTokens": 50}), requests={"secretScan": "Reject"})
    assert (await ask(setup, prompt="a" * 101)).error["code"] == "context_length_exceeded"
    assert (await ask(setup, n=7)).error["code"] == "too_many_sequences"
    assert (await ask(setup, prompt="AKIA" + "Q7" * 8)).error["code"] == "credentials_found"
    assert await served(setup, 2) == 1


async def test_who_hangs_up_before_the_engine_heard_of_it_pays_nothing(guarded: Guarded) -> None:
    waits = {"perReplica": 1, "onFull": "Wait", "maxWaitSeconds": 5, "queuedPerReplica": 0}
    setup = guarded(tenants=tenants({"requests": 2}), concurrency=waits)
    setup.engine.may_go_on.clear()
    first = asyncio.create_task(ask(setup))
    await until(lambda: setup.engine.running == 1)
    client = Client({"prompt": "a"}, {"x-pilothouse-tenant": "ide"})
    second = asyncio.create_task(setup.serve(client))
    await until(lambda: client.answer.status is None and not client._parts)  # noqa: SLF001 -- read by the guard
    client.hang_up()
    await second
    setup.engine.may_go_on.set()
    assert (await first).status == 200
    assert await served(setup, 2) == 1


async def test_who_hangs_up_on_the_engine_pays(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"requests": 1}))
    setup.engine.may_go_on.clear()
    client = Client({"prompt": "a"}, {"x-pilothouse-tenant": "ide"})
    serving = asyncio.create_task(setup.serve(client))
    await until(lambda: setup.engine.running == 1)
    client.hang_up()
    await serving
    assert (await ask(setup)).error["code"] == "tenant_requests"


# Limits that change.


async def test_a_share_that_changes_counts_what_was_spent(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.FILE_CHECK_SECONDS", 0)
    setup = guarded(tenants=tenants({"requests": 4}))
    assert await served(setup, 3) == 3
    for limit, more in ((2, 0), (6, 3), (6.5, 1), (3.25, 0)):
        content = settings(tenants=tenants({"requests": limit}))
        (setup.folder / "settings.json").write_text(json.dumps(content))
        assert await served(setup, 9) == more


@pytest.mark.parametrize("limit", [-1, "many", None, True, [1]])
async def test_limits_that_are_none_are_no_settings(guarded: Guarded, limit: Any) -> None:
    setup = guarded(tenants=tenants({"requests": limit}))
    assert (await ask(setup)).error["code"] == "no_settings"


async def test_a_limit_of_a_later_operator_is_no_trouble(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants({"watts": 1}))
    assert await served(setup, 3) == 3


async def test_callers_of_a_minute_ago_are_forgotten(guarded: Guarded) -> None:
    setup = guarded(tenants=tenants(requests=1))
    for number in range(50):
        await ask(setup, user=f"u{number}")
        setup.seconds += 10
    assert len(setup.guard._budgets._budgets) < 20  # noqa: SLF001 -- memory shows nowhere else


# Over time.


@pytest.mark.parametrize("limit", [6, 60.5])
async def test_five_times_the_limit_is_held_to_it_within_two_percent(guarded: Guarded, limit: float) -> None:
    setup = guarded(tenants=tenants({"requests": limit}))
    minutes, admitted = 8, 0
    for _ in range(minutes):
        for _ in range(int(limit * 5)):
            admitted += await served(setup, 1, max_tokens=1)
            setup.seconds += MINUTE / (limit * 5)
    assert admitted == pytest.approx(limit * minutes, rel=0.02)


LIMITS = st.integers(1, 3000).map(lambda thirds: thirds / 3)
STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500)), max_size=60)


@given(LIMITS, STEPS)
def test_whatever_the_order_no_more_is_spent_than_the_limit_and_one_request(
    limit: float, steps: list[tuple[float, int]]
) -> None:
    budget, now = Budget(), 0.0
    spent: list[tuple[float, int]] = []
    for wait, amount in steps:
        now += wait
        if budget.left(limit, now) > LEAST:
            budget.spend(amount, limit, now)
            spent.append((now, amount))
    for first, last in itertools.combinations(range(len(spent)), 2):
        minutes = (spent[last][0] - spent[first][0]) / MINUTE
        before_the_last = sum(amount for _, amount in spent[first:last])
        assert before_the_last <= limit * (minutes + 1)


@given(LIMITS, STEPS)
def test_whatever_was_spent_something_is_left_again(limit: float, steps: list[tuple[float, int]]) -> None:
    budget, now = Budget(), 0.0
    for wait, amount in steps:
        now += wait
        budget.spend(amount, limit, now)
    total = sum(amount for _, amount in steps)
    now += (total / limit + 1) * (MINUTE + 2 * SLOT_SECONDS)
    assert budget.left(limit, now) == pytest.approx(limit)
    assert budget.is_over(now)


@given(LIMITS, STEPS)
def test_after_the_wait_that_is_named_something_is_left(limit: float, steps: list[tuple[float, int]]) -> None:
    budget, now = Budget(), 0.0
    for wait, amount in steps:
        now += wait
        budget.spend(min(amount, max(0.0, budget.left(limit, now))), limit, now)
        if budget.left(limit, now) <= LEAST:
            assert budget.left(limit, now + budget.seconds_until_left(limit, now) + LEAST) > 0


@given(LIMITS, STEPS, st.integers(0, 500))
def test_what_is_given_back_at_once_was_never_spent(
    limit: float, steps: list[tuple[float, int]], more: int
) -> None:
    budget, now = Budget(), 0.0
    for wait, amount in steps:
        now += wait
        budget.spend(amount, limit, now)
    before = budget.left(limit, now)
    budget.spend(more, limit, now)
    budget.give_back(more, now, now)
    assert budget.left(limit, now) == pytest.approx(before, abs=1e-6)
