"""Requests that nobody means well by: what they are, and what came of them.

They are written byte by byte, since no client library would send them, and drawn by a seed, so that a run can
be repeated.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from e2e.traffic import ask

AT_ONCE = 40
ANSWER_SECONDS = 20
"""More than an answer takes on a busy machine; whoever gets none in this time is counted as kept waiting."""
LEAVE_SECONDS = 0.3
"""After which a client leaves that never sends the rest of its request."""
MEGABYTE = 1 << 20
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")

GENERATE = "/v1/completions"
FORGED = (
    "x-pilothouse-tenant: pilothouse:operator",
    "x-pilothouse-tenant: other",
    "x-pilothouse-user: root",
    "x-pilothouse-client: other.root",
    "X-Vllm-Priority: -1000",
    "X-data-parallel-rank: 7",
    "X-Session-ID: 1",
    "X-Request-Id: ../../../metrics",
    "X-Forwarded-For: 127.0.0.1",
    "X-Envoy-Original-Path: /metrics",
    "X-Original-URL: /metrics",
    "X-Rewrite-URL: /metrics",
    "X-HTTP-Method-Override: GET",
)
TRICKS = (
    "/{0}",
    "//{0}",
    "///{0}/",
    "/./{0}",
    "/%2e/{0}",
    "/{0}/",
    "/{0}%20",
    "/{0};.js",
    "/{0}?/v1/models",
    "/v1/../{0}",
    "/v1//../{0}",
    "//v1/../{0}",
    "/v1/%2e%2e/{0}",
    "/v1/.%2E/{0}",
    "/v1/..%2f{0}",
    "/v1/..%252f{0}",
    "/v1/..;/{0}",
    "/v1/..\\{0}",
    "/v1%5c..%5c{0}",
    "/v1/%c0%ae%c0%ae/{0}",
    "/v1/completions/../../{0}",
    "/v1/completions/%2e%2e/%2e%2e/{0}",
    "/v1/completions%2f..%2f..%2f{0}",
    "/v1/models;/../../{0}",
    "/v1/models/%00/../../{0}",
)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW")


@dataclass(frozen=True)
class Attack:
    """One request as it is sent.

    Attributes:
        kind: what is wrong with it.
        parts: its bytes, with a pause after each part.
        may_pass: whether it is a request that may be answered, but for what is forged in it.
        leaves: whether the client leaves without an answer.

    """

    kind: str
    parts: tuple[bytes, ...]
    may_pass: bool = False
    leaves: bool = False


@dataclass(frozen=True)
class Door:
    """Where requests are sent to, and the paths that are closed there; `prefix` is the model's own."""

    host: str
    port: int
    prefix: str
    closed: tuple[str, ...]


@dataclass
class Outcome:
    """What came of the attacks: answers by kind and status, and those that should not have been given.

    The status is 0 where the connection was closed without an answer.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    opened: list[Attack] = field(default_factory=list)
    kept_waiting: list[Attack] = field(default_factory=list)

    @property
    def our_faults(self) -> Counter[tuple[str, int]]:
        """The answers that blame the server."""
        return Counter({answer: count for answer, count in self.answers.items() if answer[1] >= 500})


async def storm(door: Door, count: int, seed: int) -> Outcome:
    """Send so many attacks, some at once, and say what came of them."""
    outcome, waiting = Outcome(), iter(attacks(door, count, Random(seed)))  # noqa: S311 -- no secret is drawn

    async def attacker() -> None:
        for attack in waiting:
            await _strike(door, attack, outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(attacker())
    return outcome


def attacks(door: Door, count: int, random: Random) -> Iterator[Attack]:
    """Draw so many attacks, of each kind as many as its weight says."""
    kinds, weights = zip(*KINDS.items(), strict=True)
    for kind in random.choices(kinds, weights, k=count):
        yield kind(door, random)


def _path(door: Door, random: Random) -> Attack:
    target = random.choice(TRICKS).format(random.choice(door.closed))
    return Attack("path", (_request(door, random.choice(METHODS), target, random.choice(FORGED)),))


def _unprefixed(door: Door, random: Random) -> Attack:
    """A target that is a whole URL, or has nothing of the model's prefix."""
    target = random.choice(
        ("http://127.0.0.1/{0}", "*", "{0}", "/{0}", "?{0}", "/%2e%2e/{0}", "127.0.0.1:80")
    )
    line = f"{random.choice(METHODS)} {target.format(random.choice(door.closed))} HTTP/1.1"
    return Attack("target", (f"{line}\r\nHost: models\r\nConnection: close\r\n\r\n".encode(),))


def _json(door: Door, random: Random) -> Attack:
    return Attack("json", (_post(door, random.choice(BODIES)),))


def _random_body(door: Door, random: Random) -> Attack:
    """A good body with a few bytes changed, which may leave it a good one."""
    body = bytearray(GOOD)
    for _ in range(random.randint(1, 4)):
        body[random.randrange(len(body))] = random.randrange(256)
    return Attack("random body", (_post(door, bytes(body)),), may_pass=True)


def _oversized(door: Door, random: Random) -> Attack:
    body = json.dumps(ask(prompt="x" * random.randint(2 * MEGABYTE, 3 * MEGABYTE))).encode()
    return Attack("oversized", (_post(door, body),))


def _long_prompt(door: Door, random: Random) -> Attack:
    words = random.choice(("def f():\n", "\u0000", "\U0001f980", "a" * 50 + " "))
    return Attack("long prompt", (_post(door, json.dumps(ask(prompt=words * 20_000)).encode()),))


def _promised(door: Door, random: Random) -> Attack:
    """A length that the body does not have."""
    length = random.choice(("1000000", "99999999999999999999", "-1", "0x10", "1e3", "", "4, 5"))
    raw = _request(door, "POST", GENERATE, f"Content-Length: {length}")
    return Attack("length", (raw + GOOD,), leaves=True)


def _smuggled(door: Door, random: Random) -> Attack:
    """Two ways to tell where the body ends, and a request for a closed path behind one of them."""
    inner = _request(door, "GET", f"/{random.choice(door.closed)}")
    codings = ("chunked", "chunked, identity", "xchunked", " chunked", "chunked\r\nTransfer-Encoding: x")
    headers = (f"Content-Length: {random.choice((4, 5, 6))}", f"Transfer-Encoding: {random.choice(codings)}")
    return Attack(
        "smuggled", (_request(door, "POST", GENERATE, *headers) + b"0\r\n\r\n" + inner,), leaves=True
    )


def _headers(door: Door, random: Random) -> Attack:
    flood = random.choice(
        (
            [f"x-{number}: {number}" for number in range(random.choice((200, 1000, 3000)))],
            [f"x-long: {'y' * random.choice((70_000, 300_000))}"],
            [f"{'n' * 70_000}: 1"],
            ["Cookie: " + "; ".join(f"c{number}=1" for number in range(9000))],
        )
    )
    return Attack("header flood", (_request(door, "GET", f"/{random.choice(door.closed)}", *flood),))


def _broken_headers(door: Door, random: Random) -> Attack:
    broken = random.choice(
        (
            "a b: 1",
            ": 1",
            "x\x00y: 1",
            "x: \x00",
            "x: 1\r\n folded",
            "x",
            "x-pilothouse-tenant : a",
            "\x80: 1",
        )
    )
    return Attack("broken header", (_request(door, "GET", f"/{random.choice(door.closed)}", broken),))


def _slow(door: Door, random: Random) -> Attack:
    """A request that comes a few bytes at a time and never to its end."""
    raw = _post(door, GOOD)
    cuts = sorted(random.sample(range(1, len(raw) - 1), 4))
    parts = tuple(raw[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False))
    return Attack("slow", parts, leaves=True)


def _gone(door: Door, random: Random) -> Attack:
    """A client that asks for a long answer and hangs up."""
    body = json.dumps(ask(max_tokens=200, stream=random.choice((True, False)))).encode()
    return Attack("gone", (_post(door, body),), may_pass=True, leaves=True)


def _forged(door: Door, random: Random) -> Attack:
    headers = random.sample(FORGED, k=random.randint(1, 4))
    return Attack("forged", (_post(door, GOOD, *headers),), may_pass=True)


def _noise(_: Door, random: Random) -> Attack:
    noise = random.choice(
        (
            random.randbytes(random.randint(1, 2000)),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random.randbytes(50),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(200),
            b"GET /\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n" * 500,
        )
    )
    return Attack("noise", (noise,), leaves=True)


KINDS: Mapping[Callable[[Door, Random], Attack], int] = {
    _path: 300,
    _unprefixed: 60,
    _json: 200,
    _random_body: 60,
    _oversized: 2,
    _long_prompt: 2,
    _promised: 60,
    _smuggled: 60,
    _headers: 20,
    _broken_headers: 60,
    _slow: 20,
    _gone: 20,
    _forged: 60,
    _noise: 76,
}
"""Kinds of attacks with their weights; those that cost a machine most are the fewest."""

GOOD = json.dumps(ask(max_tokens=1)).encode()
BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'"\xed\xa0\x80"',
    GOOD[:-1],
    GOOD + GOOD,
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'{"prompt": NaN}',
    b'{"prompt": 1e999999}',
    b'{"prompt": ' + b"9" * 5000 + b"}",
    *(
        json.dumps(ask(**wrong)).encode()
        for wrong in (
            {"prompt": None},
            {"prompt": {}},
            {"prompt": [[]]},
            {"prompt": [1, "a"]},
            {"prompt": "\ud800"},
            {"max_tokens": 10**9},
            {"max_tokens": -1},
            {"max_tokens": "8"},
            {"max_tokens": True},
            {"n": 10**6},
            {"n": 10**30},
            {"stream": "yes"},
            {"stream_options": 1},
            {"best_of": 500},
            {"use_beam_search": True},
            {"prompt_logprobs": 1},
            {"truncate_prompt_tokens": 1},
            {"vllm_xargs": {"a": 1}},
            {"model": "../../etc/passwd"},
            {"model": 5},
            {"cache_salt": 5},
            {"logits_processors": ["os.system"]},
            {"chat_template": "{{ 1 }}"},
        )
    ),
)
"""None of them is a completion that may be asked for."""


def _request(door: Door, method: str, target: str, *headers: str) -> bytes:
    lines = (f"{method} {door.prefix}{target} HTTP/1.1", "Host: models", "Connection: close", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def _post(door: Door, body: bytes, *headers: str) -> bytes:
    length = (f"Content-Length: {len(body)}", "Content-Type: application/json")
    return _request(door, "POST", GENERATE, *length, *headers) + body


async def _strike(door: Door, attack: Attack, outcome: Outcome) -> None:
    status = 0
    # Who is attacked may hang up at any time, and that is an answer too.
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        try:
            status = await _answer(reader, writer, attack)
        except TimeoutError:
            outcome.kept_waiting.append(attack)
        finally:
            writer.transport.abort()
    outcome.answers[attack.kind, status] += 1
    if status // 100 == 2 and not attack.may_pass:
        outcome.opened.append(attack)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, attack: Attack) -> int:
    """Return the status of what comes back; raises TimeoutError for a client that waited in vain."""
    reading = asyncio.ensure_future(_status(reader))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for part in attack.parts:
                writer.write(part)
                await asyncio.wait({reading}, timeout=LEAVE_SECONDS if attack.leaves else 0)
            if reading.done() or attack.leaves:
                return reading.result() if reading.done() else 0
            return await reading
    finally:
        reading.cancel()


async def _status(reader: asyncio.StreamReader) -> int:
    found = STATUS.match(await reader.read(MEGABYTE))
    return int(found[1]) if found else 0
