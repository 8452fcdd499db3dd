"""Each of 10,000 generations has one line in the log, and each answer the pins of the pod that gave it.

They are streamed and not, refused and left half-way, while one revision gives way to another.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest

from e2e.fixtures import Staged
from e2e.loglines import Logged, followed
from e2e.manifests import MODEL, OTHER_COMMIT, Object, model
from e2e.traffic import ask
from pilothouse.names import Header, RolloutState

# It takes from the others both cores.
pytestmark = pytest.mark.alone(last=True)

NAME = "told"
MANY = 10_000
AT_A_TIME = 48
BEFORE_THE_ROLLOUT = 2_000
LONGEST = 4096
"""Tokens in twenty seconds: nobody waits for the last."""

POLICY = {"steps": [{"preflight": {}}, {"weight": 50, "hold": "5s"}]}
LANE = {
    "requests": {"maxInputTokens": 512, "maxOutputTokens": LONGEST, "timeout": "60s"},
    "concurrency": {"perReplica": 64, "queuedPerReplica": 64},
    "objectives": [{"metric": "Success", "ratio": 0.6}],
}
CHAT = {"messages": [{"role": "user", "content": "def fibonacci(n):"}], "max_tokens": 2, "ignore_eos": True}
REQUESTS: tuple[tuple[str, str, Object], ...] = (
    ("streamed", "completions", ask(max_tokens=3, stream=True)),
    ("whole", "completions", ask(max_tokens=2)),
    ("chat", "chat/completions", {"model": MODEL} | CHAT),
    ("chat-streamed", "chat/completions", {"model": MODEL, "stream": True} | CHAT),
    ("left", "completions", ask(max_tokens=LONGEST, stream=True)),
    ("streamed", "completions", ask(max_tokens=8, stream=True)),
    ("too-long", "completions", ask(max_tokens=LONGEST + 1)),
    ("whole", "completions", ask(max_tokens=1)),
    ("no-model", "completions", ask(model="another")),
    ("two-answers", "completions", ask(max_tokens=2, n=2)),
)
"""What is asked for, in turns: a word for it, the path, the body."""

ENDS = {
    "streamed": "length",
    "whole": "length",
    "chat": "length",
    "chat-streamed": "length",
    "two-answers": "length",
    "left": "cancelled",
    "too-long": "rejected:max_tokens_exceeded",
    "no-model": "rejected:404",
}
"""How the log says that each ended."""

PINS = {
    Header.MODEL_REVISION: ("modelRevision", "--revision"),
    Header.TOKENIZER_REVISION: ("tokenizerRevision", "--tokenizer-revision"),
}
"""A pin's header, its name in the log, and the flag by which the pod's engine has it."""


@dataclass
class Told:
    """What was asked for and what was heard of it, by the name of the request."""

    kinds: dict[str, str] = field(default_factory=dict)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    lines: Mapping[str, list[Logged]] = field(default_factory=dict)

    def of(self, name: str) -> Logged:
        """The line of a request that has one."""
        [logged] = self.lines[name]
        return logged


class Callers:
    """Ask in turns, so many at a time, until enough was asked for and the rollout is over."""

    def __init__(self, url: str, told: Told) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self._url = url
        self._told = told
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Call until all are done."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as callers:
            for _ in range(AT_A_TIME):
                callers.create_task(self._call(http))

    async def _call(self, http: aiohttp.ClientSession) -> None:
        while (number := next(self._numbers)) < MANY or not self.may_end.is_set():
            if number == BEFORE_THE_ROLLOUT:
                self.started.set()
            await self._ask(http, f"n{number}", *REQUESTS[number % len(REQUESTS)])

    async def _ask(self, http: aiohttp.ClientSession, name: str, kind: str, path: str, body: Object) -> None:
        named = {Header.PACKING_TRACE: json.dumps({"segments": [{"name": name, "tokens": 0}]})}
        self._told.kinds[name] = kind
        async with http.post(f"{self._url}/{path}", json=body, headers=named) as answer:
            self._told.headers[name] = answer.headers
            if kind == "left":
                await answer.content.readline()
                answer.close()
            else:
                await answer.read()


@pytest.fixture(scope="module")
def told(staged: Staged, gateway_url: str) -> Told:
    """Ask 10,000 times and more, and let a revision roll out meanwhile."""

    async def play() -> Told:
        heard = Told()
        async with staged(POLICY, LANE) as made, followed(made) as lines:
            await made.served(NAME, replicas=2)
            calling = Callers(f"{gateway_url}/{made.name}/{NAME}/v1", heard)
            async with asyncio.TaskGroup() as group:
                group.create_task(calling.run())
                await calling.started.wait()
                await made.declare(NAME, replicas=2, model=model(OTHER_COMMIT))
                await made.at(NAME, RolloutState.HOLDING)
                await made.rested(NAME)
                calling.may_end.set()
            await lines.until(len(heard.kinds), 60)
            heard.lines = lines.of
        return heard

    return asyncio.run(play())


def test_every_generation_has_one_line(told: Told) -> None:
    assert len(told.kinds) >= MANY
    assert {name: len(found) for name, found in told.lines.items()} == dict.fromkeys(told.kinds, 1)


def test_every_answer_bears_the_revision_that_gave_it(told: Told) -> None:
    given = {name: headers[Header.REVISION] for name, headers in told.headers.items()}

    assert given == {name: told.of(name).revision for name in told.kinds}
    assert given == {name: told.of(name).line["revision"] for name in told.kinds}
    assert min(Counter(given.values()).values()) > MANY / 20
    assert len(set(given.values())) == 2


@pytest.mark.parametrize("header", PINS)
def test_every_answer_bears_the_pins_that_its_engine_was_started_with(told: Told, header: Header) -> None:
    key, flag = PINS[header]
    given = {name: headers[header] for name, headers in told.headers.items()}

    assert given == {name: told.of(name).argument(flag) for name in told.kinds}
    assert given == {name: told.of(name).line[key] for name in told.kinds}


def test_every_answer_bears_the_license(told: Told) -> None:
    assert {headers[Header.LICENSE_ID] for headers in told.headers.values()} == {"Apache-2.0"}
    assert {told.of(name).line["licenseID"] for name in told.kinds} == {"Apache-2.0"}


def test_every_line_is_found_by_the_id_on_its_answer(told: Told) -> None:
    given = {name: headers[Header.REQUEST_ID] for name, headers in told.headers.items()}

    assert given == {name: told.of(name).line["requestId"] for name in told.kinds}
    assert len(set(given.values())) == len(given)


def test_every_line_says_how_it_ended(told: Told) -> None:
    ends = {name: told.of(name).line["finish"] for name in told.kinds}

    assert ends == {name: ENDS[kind] for name, kind in told.kinds.items()}
