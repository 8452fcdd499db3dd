"""What an operator costs when there is nothing to do: 50 ModelDeployments at rest for a minute.

`make bench-idle` writes results/idle.md. Writes are counted twice: by the operator's own metrics, and by the
API server for every kind that the operator may write, whoever wrote it.
"""

import asyncio
import re
from dataclasses import dataclass

from fleet import at_rest, writes
from measure import publish, surroundings, table

from harness import cluster
from harness.api import Api, connect
from harness.outside import Process
from pilothouse.kinds import CHILDREN, EVENT, MODEL_DEPLOYMENT

COUNT = 50
REST_SECONDS = 60
WRITTEN = {kind.plural for kind in (*CHILDREN, EVENT, MODEL_DEPLOYMENT)}
WRITE_VERBS = {"APPLY", "DELETE", "DELETECOLLECTION", "PATCH", "POST", "PUT"}
REQUEST = re.compile(
    r'^apiserver_request_total{.*,resource="(?P<kind>\w*)",.*,verb="(?P<verb>\w+)",.*} (?P<n>\S+)$'
)


@dataclass(frozen=True)
class Rest:
    """What a minute of rest cost; CPU in seconds, memory in MB."""

    own_writes: float
    api_writes: float
    requests: float
    lease: float
    cpu: float
    memory: float


async def main() -> None:
    """Measure and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        async with at_rest(api, kubeconfig, "bench-idle", COUNT) as (_, process):
            rest = await measure(api, process)
    publish("idle.md", report(about, rest))


async def measure(api: Api, process: Process) -> Rest:
    """Watch the operator at rest."""
    before = await counters(api, process)
    await asyncio.sleep(REST_SECONDS)
    after = await counters(api, process)
    return Rest(*(now - then for then, now in zip(before, after, strict=True)), process.memory_megabytes())


async def counters(api: Api, process: Process) -> tuple[float, ...]:
    """Return writes by the operator, by all as the API server counts, requests, those for the Lease, CPU."""
    return (
        writes(process),
        _writes_of_all(await api.text("/metrics")),
        process.metric("pilothouse_api_requests_total"),
        process.metric("pilothouse_api_requests_total", kind="Lease"),
        process.cpu_seconds(),
    )


def report(about: str, rest: Rest) -> str:
    """Return the result as it is published."""
    return (
        f"# At rest\n\n{COUNT} ModelDeployments and their children, untouched for {REST_SECONDS} s.\n\n"
        f"{about}\n"
        + table(
            ("operator", "writes but for the Lease", "requests", "for the Lease", "CPU", "memory"),
            (
                (
                    "Pilothouse",
                    f"{rest.own_writes:.0f} ({rest.api_writes:.0f} of all clients, as the API server counts)",
                    f"{rest.requests:.0f}",
                    f"{rest.lease:.0f}",
                    f"{rest.cpu:.2f} s ({rest.cpu / REST_SECONDS:.1%} of a core)",
                    f"{rest.memory:.0f} MB",
                ),
                (
                    "Argo Rollouts 1.9.3, 500 Rollouts, measured on another day",
                    "",
                    "",
                    "",
                    "0.22 s",
                    "127 MB",
                ),
            ),
        )
    )


def _writes_of_all(metrics: str) -> float:
    found = filter(None, map(REQUEST.match, metrics.splitlines()))
    return sum(float(hit["n"]) for hit in found if hit["kind"] in WRITTEN and hit["verb"] in WRITE_VERBS)


if __name__ == "__main__":
    asyncio.run(main())
