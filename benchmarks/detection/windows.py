"""Requests → what a look sees: counts by rollout, pod and window, and histograms by arm for the peers."""

from dataclasses import dataclass

import numpy as np
from benchmarks.detection.cells import INTERVAL, Cell, Traffic
from benchmarks.detection.engine import END, Floats, Requests
from numpy.typing import NDArray

WINDOWS = int(END / INTERVAL)
BINS = 48
LENGTH_EDGES = np.array([200.0, 500.0, 1000.0, 2000.0, 5000.0])


@dataclass(frozen=True)
class Objectives:
    """Where a request is too slow: seconds to the first token, and a token."""

    ttft: float
    per_token: float


@dataclass(frozen=True)
class Windows:
    """Pods are the canary's first. `pods` is [rollout, pod, window, field], with the fields of FIELDS.

    `ttft` and `per_token` are histograms [rollout, arm (0 the canary), window, bin].
    """

    pods: Floats
    ttft: Floats
    per_token: Floats


FIELDS = (
    "ttft_bad",
    "ttft_total",
    "itl_bad",
    "itl_total",
    "failed",
    "cut",
    "requests",
    "prompt_tokens",
    "output_tokens",
    "slow_requests",
    *(f"length_{index}" for index in range(len(LENGTH_EDGES) + 1)),
)


@np.errstate(invalid="ignore")  # what never came has no latency
def windows(cell: Cell, rollouts: int, served: Requests, objectives: Objectives) -> Windows:
    """Count what each window saw."""
    grid = _Grid(cell, rollouts)
    slow = served.per_token > objectives.per_token
    # The engine counts every token, and those of one request are alike.
    weight = np.ones_like(served.output) if cell.traffic is Traffic.IID else served.output
    first, finished = grid.index(served.first_token_at), grid.index(served.finished_at)
    bucket = np.searchsorted(LENGTH_EDGES, served.prompt)
    fields = [
        grid.sum(first, served.ttft > objectives.ttft),
        grid.sum(first, np.ones_like(served.output)),
        grid.sum(finished, weight * slow),
        grid.sum(finished, weight),
        grid.sum(finished, served.failed),
        grid.sum(finished, served.cut),
        grid.sum(finished, np.ones_like(served.output)),
        grid.sum(finished, served.prompt),
        grid.sum(finished, served.output),
        grid.sum(finished, slow),
        *(grid.sum(finished, bucket == index) for index in range(len(LENGTH_EDGES) + 1)),
    ]
    return Windows(
        pods=np.stack(fields, axis=-1),
        ttft=grid.histogram(first, served.ttft, objectives.ttft),
        per_token=grid.histogram(finished, served.per_token, objectives.per_token),
    )


class _Grid:
    """Where a request of a lane is counted."""

    def __init__(self, cell: Cell, rollouts: int) -> None:
        canaries, stables = cell.scale.canaries, cell.scale.stables
        self._pods = canaries + stables
        self._rollouts = rollouts
        ours = np.arange(rollouts * canaries)
        theirs = np.arange(rollouts * stables)
        self._rollout = np.concatenate([ours // canaries, theirs // stables])
        self._pod = np.concatenate([ours % canaries, canaries + theirs % stables])
        self._arm = np.concatenate([np.zeros_like(ours), np.ones_like(theirs)])

    def index(self, at: Floats) -> NDArray[np.int64]:
        """Return the window of each moment, WINDOWS for all that comes after the end."""
        return np.minimum(np.nan_to_num(at / INTERVAL, nan=WINDOWS, posinf=WINDOWS), WINDOWS).astype(np.int64)

    def sum(self, window: NDArray[np.int64], weight: NDArray[np.generic]) -> Floats:
        """Sum a weight over the requests of each rollout, pod and window."""
        lane = (self._rollout * self._pods + self._pod)[:, None]
        size = self._rollouts * self._pods * (WINDOWS + 1)
        flat = (lane * (WINDOWS + 1) + window).ravel()
        sums = np.bincount(flat, weight.ravel().astype(np.float64), size).astype(np.float64)
        return sums.reshape(self._rollouts, self._pods, WINDOWS + 1)[:, :, :WINDOWS]

    def histogram(self, window: NDArray[np.int64], latency: Floats, objective: float) -> Floats:
        """Count latencies by rollout, arm, window and bin; a bin is 3/16 of an octave wide."""
        relative = np.nan_to_num(np.log2(latency / objective), nan=0.0, posinf=0.0)
        bins = np.clip((relative + 6) * BINS / 9, 0, BINS - 1).astype(np.int64)
        lane = (self._rollout * 2 + self._arm)[:, None]
        flat = ((lane * (WINDOWS + 1) + window) * BINS + bins).ravel()
        size = self._rollouts * 2 * (WINDOWS + 1) * BINS
        counts = np.bincount(flat, minlength=size).astype(np.float64)
        return counts.reshape(self._rollouts, 2, WINDOWS + 1, BINS)[:, :, :WINDOWS]


def upper_edges(objective: float) -> Floats:
    """Return the upper edges of the histograms' bins, in seconds."""
    result: Floats = objective * 2.0 ** ((np.arange(BINS) + 1) * 9 / BINS - 6)
    return result
