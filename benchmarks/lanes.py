"""What completion notices of a flood of synthesis: with a lane for each, and with both kinds in one.

Both setups have two engines of the same checkpoint and, together, as many places. With lanes, completion has
one engine and synthesis the other; without, both engines take both kinds. Callers of completion stream short
answers at a constant rate, alone and then under the flood, again and again; the flood is ten times what the
lane of synthesis can serve.
`make bench-lanes` writes results/lanes.md.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from measure import percentile, publish, surroundings, table
from rollback_pilothouse import MODEL, installed, pilothouse
from traffic import PROMPT, Answer, Asking, load

from e2e.manifests import engine, queue_class, rollout_policy
from harness import cluster
from harness.api import Api, Object, connect

ROUNDS = 2
SECONDS = 60
"""How long completion is measured, in each round alone and under the flood."""
FILLING = 20
"""Seconds in which the flood fills every place and every queue before anything is measured."""

STEP_MS = 150
COSTS = {"VLLM_SIM_DECODE_MS": str(STEP_MS), "VLLM_SIM_PREFILL_US_PER_TOKEN": "500"}
"""Slow for the clock and cheap for the cores: a step is waited for, not computed."""
COMPLETION = Asking(calls=((4, True),))
COMPLETIONS_PER_MINUTE = 600
TOKENS = 100
SYNTHESIS = Asking(calls=((TOKENS, False),), prompt=PROMPT * 8)
PLACES = {"completion": 32, "synthesis": 4}
QUEUED = 8
CAPACITY_PER_MINUTE = 60 * PLACES["synthesis"] / (TOKENS * STEP_MS / 1000)
FLOOD = 10
"""Offered synthesis, as a multiple of the capacity of its lane."""
TARGET = 1.1

ALL = sum(PLACES.values())
TEXT = f"""# Lanes

{COMPLETIONS_PER_MINUTE} completions a minute, streamed, alone and while synthesis is asked for {FLOOD} times
as often as its lane can serve it, in {ROUNDS} rounds of {SECONDS} s each. Both setups have two engines of the
same checkpoint and {ALL} places to generate in. With lanes, completion has one engine with
{PLACES["completion"]} places and synthesis one with {PLACES["synthesis"]}; without, both engines take both
kinds. The time to the first token is what a caller sees through the gateway, of the answers that were whole.

A step of the simulated engines takes {STEP_MS} ms by the clock and next to nothing of a core, so that
callers, gateway and engines, which share the machine, do not wait for each other's cores.

"""


@dataclass
class Setup:
    """How both kinds are served: the URL of each; `alone` and `flooded` are the answers to completions."""

    name: str
    completion: str
    synthesis: str
    alone: list[Answer] = field(default_factory=list)
    flooded: list[Answer] = field(default_factory=list)
    flood: list[Answer] = field(default_factory=list)


@dataclass(frozen=True)
class Lane:
    """A namespace with a model and the QueueClass that has its name."""

    name: str
    per_replica: int
    replicas: int = 1


LANES = (
    Lane("bench-completion", PLACES["completion"]),
    Lane("bench-synthesis", PLACES["synthesis"]),
)
SHARED = Lane("bench-shared", sum(PLACES.values()) // 2, replicas=2)


async def main() -> None:
    """Measure and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        with installed(kubeconfig):
            setups = [
                await measured(api, "a lane for each", *LANES),
                await measured(api, "both in one", SHARED),
            ]
    publish("lanes.md", report(about, setups))


async def measured(api: Api, name: str, *lanes: Lane) -> Setup:
    """Serve by these lanes, completion by the first and synthesis by the last, and measure."""
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(served(api, lane)) for lane in lanes]
        setup = Setup(name, urls[0], urls[-1])
        for _ in range(ROUNDS):
            setup.alone += await completions(setup)
            async with load(setup.synthesis, FLOOD * CAPACITY_PER_MINUTE, SYNTHESIS) as flood:
                await asyncio.sleep(FILLING)
                setup.flooded += await completions(setup)
                setup.flood += within(flood.answers, setup.flooded)
    return setup


@asynccontextmanager
async def served(api: Api, lane: Lane) -> AsyncIterator[str]:
    """Serve a model in a lane of its own, and give the URL of it."""
    env = [{"name": name, "value": value} for name, value in COSTS.items()]
    spec = {"engine": engine() | {"env": env}, "replicas": lane.replicas}
    made = queue_class(lane.name, requests=REQUESTS, concurrency=_concurrency(lane))
    async with pilothouse(api, lane.name, rollout_policy(lane.name), made, spec) as model:
        await model.all_ready(lane.replicas)
        yield f"{cluster.gateway_url()}/{lane.name}/{MODEL}/v1"


REQUESTS = {"maxInputTokens": 4096, "maxOutputTokens": 512, "timeout": "120s"}


def _concurrency(lane: Lane) -> Object:
    return {"perReplica": lane.per_replica, "queuedPerReplica": QUEUED}


async def completions(setup: Setup) -> list[Answer]:
    """Ask for completions for a while; return what became of each."""
    async with load(setup.completion, COMPLETIONS_PER_MINUTE, COMPLETION) as asking:
        await asyncio.sleep(SECONDS)
    return asking.answers


def within(answers: Sequence[Answer], others: Sequence[Answer]) -> list[Answer]:
    """Return those that came while the last of the others were asked."""
    end = max(answer.began for answer in others)
    return [answer for answer in answers if end - SECONDS <= answer.ended <= end]


def report(about: str, setups: Sequence[Setup]) -> str:
    """Return the result as it is published."""
    rows = [row for setup in setups for row in _rows(setup)]
    ratio = _ratio(setups[0])
    verdict = (
        f"With lanes, the p99 under the flood is {ratio:.2f} times that alone; the target, at most {TARGET}, "
        f"is {'held' if ratio <= TARGET else 'missed'}.\n"
    )
    return f"{TEXT}{about}\n{table(HEAD, rows)}\n{verdict}"


HEAD = (
    "setup",
    "synthesis",
    "completions",
    "refused or lost",
    "first token: median",
    "p99",
    "p99 to alone",
    "synthesis offered",
    "served",
)


def _rows(setup: Setup) -> list[tuple[str, ...]]:
    served = sum(answer.whole for answer in setup.flood)
    per_minute = 60 / (ROUNDS * SECONDS)
    flood = (f"{len(setup.flood) * per_minute:.0f}/min", f"{served * per_minute:.0f}/min")
    return [
        (setup.name, "none", *_latency(setup.alone), "", "", ""),
        (setup.name, "flood", *_latency(setup.flooded), f"{_ratio(setup):.2f}", *flood),
    ]


def _latency(answers: Sequence[Answer]) -> tuple[str, ...]:
    refused = sum(answer.status == HTTPStatus.TOO_MANY_REQUESTS for answer in answers)
    lost = sum(not answer.whole for answer in answers) - refused
    middle, high = (f"{1000 * percentile(first_tokens(answers), share):.0f} ms" for share in (50, 99))
    return f"{len(answers):,}", f"{refused:,} and {lost:,}", middle, high


def _ratio(setup: Setup) -> float:
    alone, flooded = (percentile(first_tokens(answers), 99) for answers in (setup.alone, setup.flooded))
    return flooded / alone


def first_tokens(answers: Sequence[Answer]) -> list[float]:
    """Return the seconds to the first token of the answers that were whole."""
    return [answer.first - answer.began for answer in answers if answer.whole]


if __name__ == "__main__":
    asyncio.run(main())
