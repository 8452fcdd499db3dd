"""The traffic of many rollouts at once: continuous batchers, or latencies drawn one by one.

A batcher does one prefill at a time, in the order of arrival, and decodes its running requests together, so
that a token takes the longer the more are running and the more prefills come between. All pods have the same
mean utilisation. One lane is one pod of one rollout; every numpy operation takes one request of each lane.
"""

from dataclasses import dataclass

import numpy as np
from benchmarks.detection.cells import HISTORY, PATIENCE, Cell, Traffic
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UTILISATION = 0.4
SLOTS = 48
PROMPT_MEDIAN, PROMPT_SIGMA = 490.0, 0.7
OUTPUT_MEDIAN, OUTPUT_SIGMA = 36.0, 0.7
PREFILL_FIXED = 0.12
"""The share of a mean prefill that does not depend on the prompt's length."""
TOKEN_FIXED, TOKEN_EACH = 0.012, 0.0003
"""Seconds for a token, and for each other request that runs."""
BURST_FACTOR, BURST_SECONDS, CALM_SECONDS = 5.0, 5.0, 15.0
STEP_FACTOR, STEP_AT = 1.6, 180.0
DRIFT_FACTOR = 1.5
ERRORS, LENGTH_STOPS = 0.005, 0.10
IID_SIGMA = 0.8
END = HISTORY + PATIENCE


@dataclass(frozen=True)
class Requests:
    """All requests, [lane, request]; what lies after the end has an infinite time."""

    first_token_at: Floats
    finished_at: Floats
    ttft: Floats
    per_token: Floats
    prompt: Floats
    output: Floats
    failed: NDArray[np.bool_]
    cut: NDArray[np.bool_]


@np.errstate(invalid="ignore")  # after the end all times are infinite, and differences of them no number
def requests(cell: Cell, rollouts: int, rng: np.random.Generator) -> Requests:
    """Serve the cell's traffic; lanes are the canary pods of all rollouts, then the stable ones."""
    scale = cell.scale
    canary = np.arange(rollouts * (scale.canaries + scale.stables)) < rollouts * scale.canaries
    arrived = _arrivals(cell, canary, rng)
    shape = arrived.shape
    drift = _drift(cell.traffic, arrived)
    prompt = np.ceil(PROMPT_MEDIAN * drift * np.exp(PROMPT_SIGMA * rng.standard_normal(shape)))
    output = np.ceil(OUTPUT_MEDIAN * np.exp(OUTPUT_SIGMA * rng.standard_normal(shape)))
    slow = np.where(canary, cell.fault.prefill, 1.0)[:, None]
    heavy = np.where(canary, cell.fault.decode, 1.0)[:, None]
    if cell.traffic is Traffic.IID:
        first, per_token = _drawn(arrived, slow, heavy, rng)
        finished = first + 1.0
    else:
        first, finished, per_token = _batched(
            arrived, slow * _prefill(prompt, scale.rate), output, heavy[:, 0]
        )
    errors = ERRORS + np.where(canary, cell.fault.errors, 0.0)[:, None]
    stops = LENGTH_STOPS + np.where(canary, cell.fault.length_stops, 0.0)[:, None]
    return Requests(
        first_token_at=first,
        finished_at=finished,
        ttft=first - arrived,
        per_token=per_token,
        prompt=prompt,
        output=output,
        failed=rng.random(shape) < errors,
        cut=rng.random(shape) < stops,
    )


def _prefill(prompt: Floats, rate: float) -> Floats:
    """Give each prompt's prefill time: a mean of UTILISATION / rate seconds."""
    mean = PROMPT_MEDIAN * np.exp(PROMPT_SIGMA**2 / 2)
    result: Floats = UTILISATION / rate * (PREFILL_FIXED + (1 - PREFILL_FIXED) * prompt / mean)
    return result


def _drift(traffic: Traffic, arrived: Floats) -> Floats:
    if traffic is not Traffic.DRIFT:
        return np.ones_like(arrived)
    return 1 + (DRIFT_FACTOR - 1) * np.clip((arrived - HISTORY) / PATIENCE, 0, 1)


def _arrivals(cell: Cell, canary: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Draw Poisson arrivals of each lane's own intensity: unit-rate arrivals through its inverse integral."""
    most = cell.scale.rate * END * (STEP_FACTOR if cell.traffic is Traffic.LOAD_STEP else 1.0)
    count = int(most + 8 * most**0.5 + (0.25 * most if cell.traffic is Traffic.BURSTS else 0))
    unit = np.cumsum(rng.standard_exponential((len(canary), count)), axis=1)
    result = np.empty_like(unit)
    for lane, is_canary in enumerate(canary):
        times, intensity = _intensity(cell, rng)
        begin = HISTORY if is_canary else 0.0
        times = np.maximum(times, begin)
        mass = np.concatenate([[0.0], np.cumsum(np.diff(times) * intensity)])
        result[lane] = np.interp(unit[lane], mass, times, right=np.inf)
    return result


def _intensity(cell: Cell, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the times at which a lane's rate changes, and its rates between them."""
    rate = cell.scale.rate
    if cell.traffic is Traffic.LOAD_STEP:
        return np.array([0.0, HISTORY + STEP_AT, END]), np.array([rate, rate * STEP_FACTOR])
    if cell.traffic is not Traffic.BURSTS:
        return np.array([0.0, END]), np.array([rate])
    pairs = int(2 * END / (CALM_SECONDS + BURST_SECONDS)) + 20
    lengths = rng.standard_exponential((pairs, 2)) * (CALM_SECONDS, BURST_SECONDS)
    times = np.minimum(np.concatenate([[0.0], np.cumsum(lengths)]), END)
    share = BURST_SECONDS / (CALM_SECONDS + BURST_SECONDS)
    calm = rate / (1 + (BURST_FACTOR - 1) * share)
    return times, np.tile([calm, calm * BURST_FACTOR], pairs)


def _drawn(arrived: Floats, slow: Floats, heavy: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw latencies independent of each other; a request counts when it arrives."""
    ttft = slow * 0.2 * np.exp(IID_SIGMA * rng.standard_normal(arrived.shape))
    per_token = heavy * 0.015 * np.exp(0.2 * rng.standard_normal(arrived.shape))
    return arrived + ttft, per_token


def _batched(
    arrived: Floats, prefill: Floats, output: Floats, heavy: Floats
) -> tuple[Floats, Floats, Floats]:
    """Serve request after request in every lane at once."""
    lanes, count = arrived.shape
    first, finished, per_token = (np.empty_like(arrived) for _ in range(3))
    free, busy = np.zeros(lanes), np.zeros(lanes)
    running = np.zeros((SLOTS, lanes))
    for index in range(count):
        at, cost = arrived[:, index], prefill[:, index]
        slot = running[index % SLOTS]
        start = np.maximum(np.maximum(at, free), slot)
        # How busy prefills kept the pod of late: they come between the tokens of the others.
        busy *= np.exp(-np.maximum(start - free, 0) / 2.0)
        busy += (1 - busy) * (1 - np.exp(-cost / 2.0))
        token = start + cost
        others = (running > token).sum(axis=0)
        each = heavy * (TOKEN_FIXED + TOKEN_EACH * others) / (1 - 0.7 * np.minimum(busy, 1.0))
        done = token + each * output[:, index]
        slot[:] = done
        free = token
        first[:, index], finished[:, index], per_token[:, index] = token, done, each
    return first, finished, per_token
