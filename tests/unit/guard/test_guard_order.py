"""In whatever order things happen: each generation has one line and one answer, and no place is lost."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import virtual_time
from unit.guard.standin import PINS, Client, Engine, Object, Setup, settings

PLACES = 2
TIMEOUT = 8.0
TENANT = {"x-pilothouse-tenant": "ide"}
ENDS = {
    "length": {200},
    "error": {200, 500},
    "timeout": {200, 504},
    "rejected:queue_full": {429},
    "rejected:tenant_concurrency": {429},
    "rejected:context_length_exceeded": {400},
    "rejected:max_tokens_exceeded": {400},
    "rejected:invalid_json": {400},
}
"""Of requests whose client waits for the answer: how they end in the log, and with which status."""

REQUESTS = st.sampled_from(
    (
        {"prompt": "a", "max_tokens": 3},
        {"prompt": "a", "max_tokens": 3, "stream": True},
        {"prompt": [1, 2], "stream": True, "n": 2},
        {"prompt": "a" * 100},
        {"prompt": "a" * 101},
        {"prompt": "a", "max_tokens": 33},
        [],
    )
)
WHICH = st.integers(1, 4)
"""Of those who came last."""
ARRIVAL = st.tuples(st.just("a request comes"), REQUESTS)
STEPS = st.lists(
    st.one_of(
        *[ARRIVAL] * 5,
        st.tuples(st.just("a client hangs up"), WHICH),
        st.tuples(st.just("a client stops to read"), WHICH),
        st.tuples(st.just("the server stops"), WHICH),
        st.tuples(st.just("turns pass"), st.integers(1, 12)),
        st.tuples(st.just("seconds pass"), st.integers(1, 9)),
        st.tuples(st.just("the engine halts"), st.none()),
        st.tuples(st.just("the engine goes on"), st.none()),
        st.tuples(st.just("the engine fails after"), st.integers(0, 3)),
        st.tuples(st.just("the engine is well"), st.none()),
    ),
    min_size=10,
    max_size=60,
)
LANES = st.sampled_from(
    (
        {"perReplica": PLACES, "queuedPerReplica": 0, "onFull": "Reject"},
        {"perReplica": 1, "queuedPerReplica": 1, "onFull": "Wait", "maxWaitSeconds": 3},
    )
)


class CountingEngine(Engine):
    """Knows how many answers it ever wrote at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = 0
        self.most = 0

    async def _generate(self, scope: Object, body: Object, receive: Any, send: Any) -> None:
        answers = body.get("n", 1)
        self.writing += answers
        self.most = max(self.most, self.writing)
        try:
            await super()._generate(scope, body, receive, send)
        finally:
            self.writing -= answers


class Run:
    """Steps against one guard, and who asked."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.clients: list[Client] = []
        self.serving: list[asyncio.Task[Any]] = []
        self.patient: set[int] = set()
        """Those who wait for their answer to the end."""

    async def take(self, step: str, value: Any) -> None:
        match step:
            case "a request comes":
                self._arrive(value)
            case "turns pass":
                for _ in range(value):
                    await asyncio.sleep(0)
            case "seconds pass":
                await asyncio.sleep(value)
            case "a client hangs up" | "a client stops to read" | "the server stops":
                if value <= len(self.clients):
                    await self._leave(step, value)
            case _:
                self._change_engine(step, value)

    async def end(self) -> None:
        """Wait for all: what would hang is ended by the guard's own time."""
        await asyncio.gather(*self.serving, return_exceptions=True)
        await asyncio.sleep(TIMEOUT)
        self.setup.engine.may_go_on.set()
        self.setup.engine.failure = None

    def _arrive(self, body: object) -> None:
        number = len(self.clients)
        self.clients.append(Client(body, TENANT | {"x-request-id": f"r{number}"}))
        self.serving.append(asyncio.create_task(self.setup.serve(self.clients[-1])))
        self.patient.add(number)

    async def _leave(self, step: str, which: int) -> None:
        """Let the client who came as the last but so many no longer wait for its answer."""
        self.patient.discard(len(self.clients) - which)
        match step:
            case "a client hangs up":
                self.clients[-which].hang_up()
            case "a client stops to read":
                self.clients[-which].reads.clear()
            case "the server stops":
                await asyncio.sleep(0)  # A task that is cancelled before its first turn never asks the guard.
                self.serving[-which].cancel()

    def _change_engine(self, step: str, value: Any) -> None:
        engine = self.setup.engine
        match step:
            case "the engine halts":
                engine.may_go_on.clear()
            case "the engine goes on":
                engine.may_go_on.set()
            case "the engine fails after":
                engine.failure, engine.fails_after = RuntimeError("secret"), value
            case "the engine is well":
                engine.failure = None


@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, lane=LANES)
def test_each_generation_has_one_line_one_answer_and_gives_its_place_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    steps: Sequence[tuple[str, Any]],
    lane: Object,
) -> None:
    content = settings(
        requests={"timeoutSeconds": TIMEOUT}, concurrency=lane, tenants={"ide": {"concurrentRequests": 5}}
    )
    (tmp_path / "settings.json").write_text(json.dumps(content))
    monkeypatch.setenv("PILOTHOUSE_SETTINGS", str(tmp_path / "settings.json"))
    capfd.readouterr()
    engine = CountingEngine()
    setup = Setup(tmp_path, engine, capfd)

    async def play() -> None:
        run = Run(setup)
        for step, value in steps:
            await run.take(step, value)
        await run.end()
        _check_lines(run)
        assert engine.most <= PLACES
        assert engine.writing == 0
        await _check_all_is_as_ever(setup)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual_time.run(play())


def _check_lines(run: Run) -> None:
    lines = run.setup.lines
    assert sorted(line["requestId"] for line in lines) == sorted(f"r{n}" for n in range(len(run.clients)))
    by_id = {line["requestId"]: line for line in lines}
    for number, client in enumerate(run.clients):
        _check(client, by_id[f"r{number}"], is_patient=number in run.patient)


def _check(client: Client, line: Object, *, is_patient: bool) -> None:
    answer = client.answer
    if is_patient:
        assert answer.ended
        assert answer.status in ENDS[line["finish"]]
    else:
        assert line["finish"] in {*ENDS, "cancelled"}
    if answer.status is not None:
        assert answer.status == line["status"]
        assert answer.headers.items() >= PINS.items()
        assert answer.headers["x-request-id"] == line["requestId"]


async def _check_all_is_as_ever(setup: Setup) -> None:
    """No place is lost, none is there twice, and no request's id is still taken."""
    asking = [
        asyncio.create_task(setup.complete(headers=TENANT | {"x-request-id": f"r{number}"}))
        for number in range(PLACES)
    ]
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == [200] * PLACES
    assert [answer.headers["x-request-id"] for answer in answers] == [f"r{n}" for n in range(PLACES)]
