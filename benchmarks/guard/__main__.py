"""Measure and write results/guard.md; `--quick` takes a minute and only prints."""

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.guard import alone
from benchmarks.guard.engines import pair
from benchmarks.guard.load import asleep, awake, one_by_one, saturate
from benchmarks.guard.report import report
from benchmarks.measure import machine, publish


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="benchmarks.guard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few short rounds, printed only")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of rounds at saturation")
    parser.add_argument("--seconds", type=float, default=6, help="length of a round")
    arguments = parser.parse_args()
    pairs, seconds = (2, 3) if arguments.quick else (arguments.pairs, arguments.seconds)
    text = measure(pairs, seconds, lone=10 * pairs)
    if arguments.quick:
        print(text)
    else:
        publish("guard.md", text)


def measure(pairs: int, seconds: float, lone: int) -> str:
    """Return the whole result."""
    about = machine()
    with TemporaryDirectory() as name:
        folder = Path(name)
        costs = {size: alone.measure(folder, size) for size in alone.SIZES}
        with pair(folder) as engines:
            delays = asyncio.run(one_by_one(engines, lone))
            rounds = asyncio.run(saturate(engines, pairs, seconds, awake))
            woken = asyncio.run(saturate(engines, pairs // 2, seconds, asleep))
    return report(about, costs, delays, rounds, woken)


if __name__ == "__main__":
    main()
