"""What callers notice while traffic moves: 20 changes of weight and a rollback under a constant load.

A new revision goes from 5 % to all of the traffic in steps of 5, and is aborted while the old pods are still
there. Every answer is on record, so a lost request or a cut stream shows, and the share that a weight really
gave.
`make bench-switch` writes results/switch.md.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine_pods import CONCURRENCY, fingerprint
from measure import publish, surroundings, table
from rollback_pilothouse import MODEL, Pilothouse, installed, pilothouse
from traffic import Answer, load
from weights import Change, Weights, weights_of

from e2e.manifests import queue_class
from harness import cluster
from harness.api import Object, connect

PER_MINUTE = 2000
NAME = "bench-switch"
WEIGHTS = range(5, 100, 5)
HOLD = 10
"""Seconds at each weight."""
SETTLING = 1
"""Seconds after a change of the route for which no share is counted: the gateway takes its time."""
CONFIDENCE = 0.99

TEXT = f"""# Switch

A new revision goes from {WEIGHTS[0]} % of {PER_MINUTE:,} requests a minute through Envoy Gateway to all of
them, and is aborted: all of the traffic goes back at once. Two thirds of the requests are streams.

"""


@dataclass(frozen=True)
class Share:
    """What one weight gave: requests, and those of them that the new revision answered."""

    weight: int
    requests: int
    canary: int


@dataclass(frozen=True)
class Switch:
    """One whole rollout and its rollback: the changes of the route, and all answers."""

    changes: Sequence[Change]
    service: str
    mark: str
    answers: Sequence[Answer]


async def main() -> None:
    """Measure and write the tables."""
    kubeconfig = cluster.kubeconfig()
    url = f"{cluster.gateway_url()}/{NAME}/{MODEL}/v1"
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        with installed(kubeconfig):
            async with (
                pilothouse(api, NAME, policy(), lane()) as roller,
                weights_of(api, NAME, MODEL) as weights,
                load(url, PER_MINUTE) as traffic,
            ):
                service, mark = await there_and_back(roller, weights)
        switch = Switch(weights.changes, service, mark, traffic.since(0))
    publish("switch.md", report(about, switch))


async def there_and_back(roller: Pilothouse, weights: Weights) -> tuple[str, str]:
    """Roll out to all of the traffic and back; return the new revision's Service and its mark."""
    service = await roller.roll()
    mark = await fingerprint((await roller.engines(service))[0])
    full = await weights.first(0, lambda now: now == {service: 100}, seconds=len(WEIGHTS) * HOLD * 5)
    await asyncio.sleep(full.at + HOLD - time.time())
    await roller.abort()
    back = await weights.first(full.at, lambda now: service not in now, seconds=60)
    await asyncio.sleep(back.at + HOLD - time.time())
    await roller.settle()
    return service, mark


def policy() -> Object:
    """Twenty changes of weight, the promotion included, and a bake that outlasts the benchmark."""
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "steps": [{"weight": weight, "hold": f"{HOLD}s"} for weight in WEIGHTS],
            "analysis": {"interval": "1s", "falseAlarm": 0.001, "minRequests": 5, "warmupRequests": 5},
            "bake": "1h",
        },
    }


def lane() -> Object:
    """Return the tests' lane with one objective: at most weights one pod on each side has unlike load."""
    declared = queue_class(NAME)
    declared["spec"] |= {
        "concurrency": CONCURRENCY,
        "objectives": [{"metric": "Success", "ratio": 0.9}],
    }
    return declared


def shares(switch: Switch) -> Iterator[Share]:
    """Count each weight from a while after its change to the next change."""
    last = max(answer.began for answer in switch.answers)
    ends = [change.at for change in switch.changes[1:]] + [last]
    for change, end in zip(switch.changes, ends, strict=True):
        asked = [a for a in switch.answers if change.at + SETTLING <= a.began < end]
        canary = sum(answer.fingerprint == switch.mark for answer in asked)
        yield Share(change.weights.get(switch.service, 0), len(asked), canary)


def bounds(requests: int, share: float) -> tuple[int, int]:
    """Return between which counts a binomial one lies with the confidence, the bounds included."""
    if share in {0, 1}:
        return round(requests * share), round(requests * share)
    tail, below, low = (1 - CONFIDENCE) / 2, 0.0, 0
    for count in range(requests + 1):
        below += _binomial(count, requests, share)
        if below < tail:
            low = count + 1
        if below >= 1 - tail:
            return low, count
    return low, requests


def _binomial(count: int, requests: int, share: float) -> float:
    ways = math.lgamma(requests + 1) - math.lgamma(count + 1) - math.lgamma(requests - count + 1)
    return math.exp(ways + count * math.log(share) + (requests - count) * math.log(1 - share))


def report(about: str, switch: Switch) -> str:
    """Return the result as it is published."""
    bounds_head = f"{CONFIDENCE:.0%} bounds"
    return (
        TEXT
        + about
        + "\n"
        + table(*_callers(switch))
        + f"\nWhat each weight gave, from {SETTLING} s after the API server showed it:\n\n"
        + table(("weight", "requests", "new revision", bounds_head, "within"), map(_row, shares(switch)))
    )


def _callers(switch: Switch) -> tuple[Sequence[str], list[Sequence[str]]]:
    answers, changes = switch.answers, switch.changes
    across = [a for a in answers if a.streamed and any(a.began < c.at < a.ended for c in changes)]
    head = ("requests", "failed", "streams", "open over a change", "cut", "changes of weight")
    failed = sum(not answer.whole for answer in answers)
    cut = sum(not answer.whole for answer in across)
    counts = (len(answers), failed, sum(a.streamed for a in answers), len(across), cut, len(changes) - 1)
    return head, [tuple(f"{count:,}" for count in counts)]


def _row(share: Share) -> tuple[str, ...]:
    low, high = bounds(share.requests, share.weight / 100)
    return (
        f"{share.weight} %",
        str(share.requests),
        f"{share.canary} ({share.canary / share.requests:.1%})",
        f"{low} to {high}",
        "yes" if low <= share.canary <= high else "no",
    )


if __name__ == "__main__":
    asyncio.run(main())
