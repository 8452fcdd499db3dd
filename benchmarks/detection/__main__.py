"""Run all cells, chunk by chunk, and write results/detection.md after each round.

`--quick` runs one chunk of each cell and only prints; `--minutes` ends early, evenly over the cells.
"""

import argparse
import multiprocessing
import time
from collections.abc import Iterator

from benchmarks.detection.cells import Cell, cells
from benchmarks.detection.report import Results, report
from benchmarks.detection.trial import CHUNK, Chunk, run
from benchmarks.measure import keep, machine

ROLLOUTS = 1000


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="benchmarks.detection", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one chunk a cell, printed only")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no new round of chunks after this"
    )
    arguments = parser.parse_args()
    started, surroundings = time.monotonic(), machine()
    chunks = 1 if arguments.quick else ROLLOUTS // CHUNK
    for results in _rounds(chunks, arguments.processes, started + 60 * arguments.minutes):
        minutes = (time.monotonic() - started) / 60
        took = f"Took {minutes:.0f} minutes with {arguments.processes} processes.\n"
        text = report(results, f"{surroundings}{took}")
        if not arguments.quick:
            keep("detection.md", text)
    print(text)


def _rounds(chunks: int, processes: int, until: float) -> Iterator[Results]:
    """Run a chunk of every cell, then another one of every cell, and so on; give what there is after each."""
    results: Results = {cell: [] for cell in cells()}
    with multiprocessing.Pool(processes) as pool:
        for number in range(chunks):
            if number and time.monotonic() > until:
                return
            jobs = ((cell, number) for cell in cells())
            for cell, chunk in pool.imap_unordered(_job, jobs):
                results[cell].append(chunk)
            yield results


def _job(job: tuple[Cell, int]) -> tuple[Cell, Chunk]:
    cell, number = job
    return cell, run(cell, number)


if __name__ == "__main__":
    main()
