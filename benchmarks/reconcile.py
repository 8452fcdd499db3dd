"""How fast many ModelDeployments get their children, and what a restart with all of them in place costs.

The measure is a bare asyncio client that applies the very same objects on the same cluster in the same run.
`make bench-reconcile` writes results/reconcile.md.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet import (
    CHILDREN_EACH,
    CONCURRENCY,
    apply_children,
    children,
    declare,
    in_place,
    namespace,
    quiet,
    seconds,
    until,
    writes,
)
from measure import publish, surroundings, table

from harness import cluster
from harness.api import Api, connect
from harness.outside import Process, operator

SIZES = (500, 2000)
EACH = sum(CHILDREN_EACH.values())

# Measured on another day, on 2 cores with kube-apiserver 1.35.4.
PEERS = (
    (
        "kopf 1.45.2, a minimal operator",
        "500",
        "1,000",
        "9.4 s",
        "7.7 ms",
        "90 MB",
        "5 to 6 s with kopf.index",
    ),
    (
        "kopf 1.45.2, a minimal operator",
        "2,000",
        "4,000",
        "52.1 s",
        "8.9 ms",
        "105 MB",
        "103 to 108 s with kopf.index, 6.6 to 8.1 s without",
    ),
    ("Argo Rollouts 1.9.3, --qps 1000", "500", "500", "13.8 s (37 s by default)", "20 ms", "127 MB", "1.9 s"),
)


@dataclass(frozen=True)
class Run:
    """What one size gave; times in seconds, memory in MB."""

    count: int
    bare: float
    ours: float
    cpu: float
    memory: float
    restart: "Restart"


@dataclass(frozen=True)
class Restart:
    """A restart with everything in place; `passed` is when every ModelDeployment had been looked at."""

    stopped: float
    ready: float
    passed: float
    writes: float
    memory: float


async def main(sizes: tuple[int, ...]) -> None:
    """Measure every size and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        with tempfile.TemporaryDirectory() as folder, operator(kubeconfig, Path(folder)) as process:
            runs: list[Run] = []
            for count in sizes:
                runs.append(await measure(api, process, count))
                publish("reconcile.md", report(about, runs))


async def measure(api: Api, process: Process, count: int) -> Run:
    """Measure one size: first the bare client, then, when its objects are gone, the operator."""
    name = f"bench-{count}"
    async with namespace(api, f"{name}-bare") as where:
        objects = children(count, where)
        bare = await seconds(apply_children(api, objects))
    async with namespace(api, name) as where:
        process.start()
        process.wait_leading()
        began = process.cpu_seconds()
        ours = await seconds(asyncio.gather(declare(api, where, count), in_place(api, where, count)))
        await quiet(process)
        cpu, memory = process.cpu_seconds() - began, process.memory_megabytes()
        restart = await measure_restart(process, count)
        process.stop()
    return Run(count, bare, ours, cpu, memory, restart)


async def measure_restart(process: Process, count: int) -> Restart:
    """Restart the operator and follow it until it has looked at everything."""
    began = time.perf_counter()
    process.stop()
    started = time.perf_counter()
    process.start()
    ready = await since(started, process.is_ready)
    passed = await since(started, lambda: process.metric("pilothouse_reconcile_total") >= count)
    await quiet(process)
    return Restart(started - began, ready, passed, writes(process), process.memory_megabytes())


async def since(began: float, holds: Callable[[], bool]) -> float:
    """Wait until it holds and return the seconds since `began`."""
    await until(lambda: asyncio.to_thread(holds), seconds=300)
    return time.perf_counter() - began


def report(about: str, runs: list[Run]) -> str:
    """Return the result as it is published."""
    return (
        "# Reconcile\n\n"
        f"ModelDeployments with `replicas: 0` and a route, created at concurrency {CONCURRENCY}: until all "
        f"{EACH} children of each are there.\nThe bare client applies the same objects, server-side, at the "
        f"same concurrency, just before.\n\n{about}\n"
        + table(
            ("ModelDeployments", "children", "bare client", "Pilothouse", "ratio", "CPU a model", "memory"),
            (_created(run) for run in runs),
        )
        + "\nRestart with all in place:\n\n"
        + table(
            ("ModelDeployments", "SIGTERM to exit", "ready", "all looked at", "writes", "memory"),
            (_restarted(run) for run in runs),
        )
        + "\nPeers, measured on another day on 2 cores, with fewer children each:\n\n"
        + table(("operator", "objects", "children", "created", "CPU each", "memory", "restart"), PEERS)
    )


def _created(run: Run) -> tuple[str, ...]:
    return (
        f"{run.count:,}",
        f"{run.count * EACH:,}",
        f"{run.bare:.1f} s",
        f"{run.ours:.1f} s",
        f"{run.ours / run.bare:.2f}",
        f"{run.cpu / run.count * 1000:.1f} ms",
        f"{run.memory:.0f} MB",
    )


def _restarted(run: Run) -> tuple[str, ...]:
    restart = run.restart
    return (
        f"{run.count:,}",
        f"{restart.stopped:.1f} s",
        f"{restart.ready:.1f} s",
        f"{restart.passed:.1f} s",
        f"{restart.writes:.0f}",
        f"{restart.memory:.0f} MB",
    )


if __name__ == "__main__":
    asyncio.run(main(tuple(map(int, sys.argv[1:])) or SIZES))
