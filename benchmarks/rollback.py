"""How long a bad revision keeps its traffic: from its first bad answer to the route back at stable.

Under a constant load through the gateway a new revision gets half of the traffic; once it has served for a
while its engines begin to fail, or to take three times as long. The clock starts when a caller gets the
first such answer. The same engines, gateway and load are then steered by Argo Rollouts. `make bench-rollback`
writes results/rollback.md.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from engine_pods import CONCURRENCY, break_all, fingerprint
from fleet import until
from measure import publish, surroundings
from rollback_argo import ERRORS, SLOWNESS, TARGETS, Argo, Rule, argo, controller, prometheus
from rollback_pilothouse import MODEL, installed, pilothouse
from rollback_report import PER_MINUTE, WEIGHT, Cell, Trial, report
from traffic import Answer, Load, load
from weights import Weights, weights_of

from e2e.manifests import queue_class
from harness import cluster
from harness.api import Api, Object, connect

OURS, PEER = "bench-rollback", "bench-rollback-argo"
REPETITIONS = 10
SERVED = 60
"""Answers of the new revision before something goes wrong in it."""
GRACE = 3
"""Seconds after which a request that still reaches the old way would be a defect, not a delay."""

FAULTS: dict[str, Object] = {
    "errors": {"errors": {"share": 1}},
    "three times as slow": {"slower_prefill": {"factor": 3}, "slower_decode": {"factor": 3}},
}
QUERIES = {"errors": (ERRORS, 0.05), "three times as slow": (SLOWNESS, 1.25)}
ARGO = ((1, 0), (1, 3), (5, 3))
"""Interval in seconds and failureLimit."""


class Roller(Protocol):
    """What rolls revisions out and back."""

    async def roll(self) -> str:
        """Ask for another revision, wait until its weight is held, and return its Service."""

    async def engines(self, service: str) -> list[str]:
        """Return the addresses of a revision's pods."""

    async def settle(self) -> str:
        """Wait until the rollout is over, and return why it was rolled back."""


@dataclass(frozen=True)
class Ground:
    """Where trials take place."""

    roller: Roller
    weights: Weights
    load: Load


async def main(repetitions: int) -> None:
    """Measure ours, then the peer's, and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        cells: list[Cell] = []
        with tempfile.TemporaryDirectory() as folder:
            async for cell in every(api, kubeconfig, Path(folder), repetitions):
                cells.append(cell)
                publish("rollback.md", report(about, cells))


async def every(api: Api, kubeconfig: Path, folder: Path, repetitions: int) -> AsyncIterator[Cell]:
    """Give each cell when it is measured."""
    with installed(kubeconfig):
        async with pilothouse(api, OURS, policy(), lane()) as roller, ground(api, OURS, roller) as here:
            for fault in FAULTS:
                yield Cell("Pilothouse", fault, await trials(here, fault, repetitions))
    rules = {(fault, *how): rule(fault, *how) for fault in FAULTS for how in ARGO}
    with prometheus(folder) as url, controller(kubeconfig, folder, PEER):
        async with argo(api, PEER, url, rules.values()):
            for (fault, interval, limit), one in rules.items():
                async with ground(api, PEER, Argo(api, PEER, one.name, folder / TARGETS)) as here:
                    name = f"Argo Rollouts 1.9.3, interval {interval} s, failureLimit {limit}"
                    yield Cell(name, fault, await trials(here, fault, repetitions))


@asynccontextmanager
async def ground(api: Api, namespace: str, roller: Roller) -> AsyncIterator[Ground]:
    """Put load on the model and follow its route."""
    url = f"{cluster.gateway_url()}/{namespace}/{MODEL}/v1"
    async with AsyncExitStack() as stack:
        weights = await stack.enter_async_context(weights_of(api, namespace, MODEL))
        traffic = await stack.enter_async_context(load(url, PER_MINUTE))
        await until(lambda: _serves(traffic), 60)
        yield Ground(roller, weights, traffic)


async def trials(here: Ground, fault: str, repetitions: int) -> list[Trial | None]:
    """Roll out and back, again and again."""
    return [await trial(here, FAULTS[fault]) for _ in range(repetitions)]


async def trial(here: Ground, faults: Object) -> Trial | None:
    """Roll a revision out, break it, and see how long it keeps its traffic; None if it lost it before."""
    service = await here.roller.roll()
    engines = await here.roller.engines(service)
    mark = await fingerprint(engines[0])
    await until(lambda: _has_served(here, service, mark), 120)
    if service not in here.weights.now:
        await here.roller.settle()
        return None
    broken = time.time()
    await break_all(engines, faults)
    change = await here.weights.first(broken, lambda weights: service not in weights, seconds=120)
    await asyncio.sleep(change.at + GRACE - time.time())
    reason = await here.roller.settle()
    return _judge(here.load.since(broken), mark, change.at, reason)


def policy() -> Object:
    """Give half of the traffic at once, held for longer than any fault takes to be found."""
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": OURS},
        "spec": {
            "steps": [{"weight": WEIGHT, "hold": "10m"}],
            "analysis": {"interval": "1s", "falseAlarm": 0.01, "minRequests": 20, "warmupRequests": 5},
        },
    }


def lane() -> Object:
    """Return the tests' lane, with objectives that the engines hold to when nothing is wrong."""
    declared = queue_class(OURS)
    declared["spec"] |= {
        "concurrency": CONCURRENCY,
        "drain": "5s",
        "objectives": [
            {"metric": "TimeToFirstToken", "threshold": "100ms", "ratio": 0.9},
            {"metric": "Success", "ratio": 0.99},
        ],
    }
    return declared


def rule(fault: str, interval: int, limit: int) -> Rule:
    """Return how the peer judges."""
    query, highest = QUERIES[fault]
    return Rule(f"{fault.replace(' ', '-')}-{interval}-{limit}", query, highest, interval, limit)


def _judge(answers: Sequence[Answer], mark: str, routed: float, reason: str) -> Trial:
    """Answers of the broken revision bear its mark, or are its errors."""
    bad = [a for a in answers if a.fingerprint == mark or a.status == HTTPStatus.INTERNAL_SERVER_ERROR]
    first = min(answer.first for answer in bad)
    lost = sum(not answer.whole for answer in answers if answer not in bad)
    return Trial(routed - first, bad[-1].began - first, len(bad), lost, reason)


async def _serves(traffic: Load) -> bool:
    return any(answer.whole for answer in traffic.answers[-10:])


async def _has_served(here: Ground, service: str, mark: str) -> bool:
    served = sum(answer.fingerprint == mark for answer in here.load.answers)
    return served >= SERVED or service not in here.weights.now


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else REPETITIONS))
