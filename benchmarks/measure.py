"""What every benchmark says beside its numbers, on which machine and with which versions, and where."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.api import Api
from harness.paths import REPOSITORY
from harness.shell import run

RESULTS = Path(__file__).parent / "results"


async def surroundings(api: Api) -> str:
    """Return one line on the machine and one on the versions."""
    kubernetes = (await api.get("/version"))["gitVersion"]
    return f"{machine()}Kubernetes {kubernetes}, kopf {version('kopf')}, aiohttp {version('aiohttp')}.\n"


def machine() -> str:
    """Return one line on the machine and one on Pilothouse itself."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    cores = f"{os.cpu_count()} cores ({_processor()})"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {cores}, shared with whatever else ran, {memory:.0f} GiB; "
        f"load average at the start {load}.\n"
        f"Pilothouse {_commit()}, Python {platform.python_version()}.\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def percentile(values: Sequence[float], share: int) -> float:
    """Return the smallest value that so many percent do not exceed."""
    return sorted(values)[-(-len(values) * share // 100) - 1]


def publish(name: str, text: str) -> None:
    """Print a result and keep it."""
    keep(name, text)
    print(text)


def keep(name: str, text: str) -> None:
    """Write a result to its file."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text)


def _commit() -> str:
    return run(["git", "-C", REPOSITORY, "describe", "--always", "--dirty"]).strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
