"""What tenants get who ask for five times what they may: their limit, and nothing of another's.

All call one model behind one Gateway with keys of their own; one more keeps within its limit. Twice: with
Envoy's ratelimit service and Redis, where all Envoys count together, and without.
`make bench-quotas` writes results/quotas.md.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from engine_pods import CONCURRENCY, addresses
from fleet import until
from measure import percentile, publish, surroundings, table
from rollback_pilothouse import MODEL, installed, pilothouse
from traffic import Answer, Asking, load

from e2e.callers import Tenant, gateway_with_callers, status_of
from e2e.engines import QUEUED, counts, settings_of
from e2e.manifests import queue_class, rollout_policy, route
from harness import cluster, rate_limits
from harness.api import Api, connect
from harness.kubectl import kubectl
from pilothouse.names import DEPLOYMENT, RATE_LIMITS
from pilothouse.plan.podlayout import SETTINGS

NAME = "bench-quotas"
LIMITS = (60, 120, 180)
"""Requests by the minute of those who ask for more."""
TIMES = 5
MODEST = 120
"""The limit of who asks for half of it."""
MINUTES = 3
MINUTE = 60
PATIENCE = 240
TOLERANCE = 0.02
SOON = 0.05

TEXT = f"""# Quotas

Tenants whose keys lie at one Gateway call one model: {len(LIMITS)} ask for {TIMES} times what they may in a
minute, and one for half of it. Counted are the {MINUTES} full minutes of the clock after all have begun. The
times of refusals are those that callers measured, who share the machine with gateway and engine.

"""
HEAD = (
    "counted by",
    "limit a minute",
    "offered",
    "admitted in each minute",
    "off the limit",
    "refusals: median",
    "p99",
    "slowest",
    "within 50 ms",
)


@dataclass(frozen=True)
class Share:
    """What one tenant was given: its answers in the minutes that count."""

    limit: int
    per_minute: int
    answers: Sequence[Answer]
    since: float

    @property
    def admitted(self) -> list[int]:
        """Requests of each minute that were answered whole."""
        begins = [self.since + MINUTE * number for number in range(MINUTES)]
        return [sum(a.whole and begin <= a.began < begin + MINUTE for a in self.answers) for begin in begins]

    @property
    def wanted(self) -> int:
        """What is to be admitted in a minute."""
        return min(self.limit, self.per_minute)

    @property
    def off(self) -> float:
        """How far the worst minute is from what it should be."""
        return max(abs(count - self.wanted) / self.wanted for count in self.admitted)

    @property
    def refusals(self) -> list[float]:
        """Seconds in which each refusal came."""
        refused = (a for a in self.answers if a.status == HTTPStatus.TOO_MANY_REQUESTS)
        return [answer.ended - answer.began for answer in refused]

    @property
    def lost(self) -> int:
        """Requests that were neither answered whole nor refused."""
        return len(self.answers) - len(self.refusals) - sum(answer.whole for answer in self.answers)


@dataclass(frozen=True)
class Trial:
    """One way of counting: what each tenant was given, and what reached the engine's queue."""

    counter: str
    shares: Sequence[Share]
    served: int
    queued: int


async def main() -> None:
    """Measure and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        with installed(kubeconfig):
            alone = await trial(api, kubeconfig, "each Envoy and the guard")
            with rate_limits.installed(kubeconfig):
                annotations = {RATE_LIMITS: "Global"}
                together = await trial(api, kubeconfig, "ratelimit service and Redis", annotations)
    publish("quotas.md", report(about, (together, alone)))


async def trial(
    api: Api, kubeconfig: Path, counter: str, annotations: Mapping[str, str] | None = None
) -> Trial:
    """Have all tenants ask for a few minutes."""
    limits = (*LIMITS, MODEST)
    rates = [TIMES * limit for limit in LIMITS] + [MODEST // 2]
    async with scene(api, kubeconfig, limits, annotations or {}) as (url, tenants):
        engines = await addresses(api, NAME, {DEPLOYMENT: MODEL})
        before = await _queued(engines)
        async with AsyncExitStack() as stack:
            asking = [
                await stack.enter_async_context(load(url, rate, _asking(tenant)))
                for tenant, rate in zip(tenants, rates, strict=True)
            ]
            since = await _next_minute()
            await asyncio.sleep(since + MINUTES * MINUTE - time.time())
        reached = await _queued(engines) - before
    end = since + MINUTES * MINUTE
    shares = [
        Share(limit, rate, [a for a in one.answers if since <= a.began < end], since)
        for limit, rate, one in zip(limits, rates, asking, strict=True)
    ]
    return Trial(counter, shares, sum(a.whole for one in asking for a in one.answers), reached)


@asynccontextmanager
async def scene(
    api: Api, kubeconfig: Path, limits: Sequence[int], annotations: Mapping[str, str]
) -> AsyncIterator[tuple[str, list[Tenant]]]:
    """Serve a model behind a Gateway with these tenants, and give its URL once it answers all of them."""

    def call(*argv: str, input: str | None = None) -> str:  # noqa: A002 -- as the tests' fixture
        return kubectl(kubeconfig, *argv, stdin=input)

    with ExitStack() as stack:
        gateway, base = stack.enter_context(gateway_with_callers(kubeconfig, call, annotations))
        tenants = [Tenant(call, [NAME] if first else ()) for first in (True, *[False] * (len(limits) - 1))]
        for tenant, limit in zip(tenants, limits, strict=True):
            stack.callback(tenant.withdraw)
            tenant.declare(perTenant={"requestsPerMinute": limit})
        way = route(MODEL, NAME, gateway) | {"allowTenants": [tenant.name for tenant in tenants]}
        made = queue_class(NAME, concurrency=CONCURRENCY)
        async with pilothouse(api, NAME, rollout_policy(NAME), made, {"route": way}):
            url = f"{base}/{NAME}/{MODEL}/v1"
            for tenant in tenants:
                await until(partial(_is_served, url, tenant), PATIENCE)
            await until(partial(_is_settled, api, RATE_LIMITS in annotations), PATIENCE)
            yield url, tenants


async def _is_served(url: str, tenant: Tenant) -> bool:
    return await status_of(url, tenant.headers()) == HTTPStatus.OK


async def _is_settled(api: Api, together: bool) -> bool:  # noqa: FBT001 -- said by its name
    """Tell whether all pods' guards leave the rates to the gateway, or hold them, as is to be measured."""
    maps = await api.get(f"/api/v1/namespaces/{NAME}/configmaps", labelSelector=f"{DEPLOYMENT}={MODEL}")
    texts = [item["data"][SETTINGS] for item in maps["items"]]
    tenants = [tenant for text in texts for tenant in json.loads(text)["tenants"].values()]
    engines = await addresses(api, NAME, {DEPLOYMENT: MODEL})
    in_force = {await settings_of(address) for address in engines}
    written = {f"sha256:{sha256(text.encode()).hexdigest()}" for text in texts}
    return in_force <= written and all(("perMinute" in tenant) != together for tenant in tenants)


def _asking(tenant: Tenant) -> Asking:
    return Asking(calls=((2, False),), headers=tenant.headers())


async def _next_minute() -> float:
    """Wait for the next full minute of the clock, by which Redis counts, and return it."""
    begin = (time.time() // MINUTE + 1) * MINUTE
    await asyncio.sleep(begin - time.time())
    return begin


async def _queued(engines: Sequence[str]) -> int:
    return round(sum([(await counts(address, QUEUED))[QUEUED] for address in engines]))


def report(about: str, trials: Sequence[Trial]) -> str:
    """Return the result as it is published."""
    rows = [_row(trial.counter, share) for trial in trials for share in trial.shares]
    return f"{TEXT}{about}\n{table(HEAD, rows)}\n{''.join(map(_verdict, trials))}"


def _row(counter: str, share: Share) -> tuple[str, ...]:
    return (
        counter,
        str(share.limit),
        f"{share.per_minute}",
        ", ".join(map(str, share.admitted)),
        f"{share.off:.1%}",
        *_times(share.refusals),
    )


def _times(refusals: Sequence[float]) -> tuple[str, ...]:
    if not refusals:
        return ("",) * 4
    median, high, slowest = (f"{1000 * percentile(refusals, rank):.0f} ms" for rank in (50, 99, 100))
    return median, high, slowest, f"{sum(time <= SOON for time in refusals) / len(refusals):.1%}"


def _verdict(trial: Trial) -> str:
    held = all(share.off <= TOLERANCE for share in trial.shares)
    lost = sum(share.lost for share in trial.shares)
    return (
        f"- Counted by {trial.counter}: every minute is within {TOLERANCE:.0%}: {'yes' if held else 'no'}. "
        f"Callers were served {trial.served:,} times, {trial.queued:,} requests were in the engine's queue, "
        f"{lost} were lost.\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
