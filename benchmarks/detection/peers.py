"""The same traffic as others judge it, for as long as the policy's steps take.

Each returns the window, counted from the canary's first, at which each rollout is aborted; -1 for never.
"""

import numpy as np
from benchmarks.detection.cells import HISTORY, HOLDS, INTERVAL, Cell
from benchmarks.detection.engine import Floats
from benchmarks.detection.windows import FIELDS, Windows, upper_edges
from numpy.typing import NDArray

Looks = NDArray[np.int64]

_BEGIN = int(HISTORY / INTERVAL)
_LOOKS = int(sum(HOLDS) / INTERVAL)
_RATIO = 1.25
_SIGNIFICANT = 1.6449
"""One-sided 5 %."""
_KAYENTA_SAMPLES = 50


def argo(cell: Cell, seen: Windows) -> Looks:
    """Abort when one metric failed more than 3 times, in all: p95 ratios over 1.25, success under 95 %."""
    failures = [*_ratios(seen), _share(cell, seen, "failed") > 0.05]
    return _first(np.any([np.cumsum(failure, axis=1) > 3 for failure in failures], axis=0))


def flagger(cell: Cell, seen: Windows) -> Looks:
    """Abort at the fifth failed check run, in all: p95 ratios over 1.25, success under 99 %."""
    failures = np.any([*_ratios(seen), _share(cell, seen, "failed") > 0.01], axis=0)
    return _first(np.cumsum(failures, axis=1) >= 5)


def kayenta(cell: Cell, seen: Windows) -> Looks:
    """Abort when a Mann-Whitney test on all samples so far is significant, at any look."""
    tests = [
        _mann_whitney(np.cumsum(histogram[:, :, _BEGIN : _BEGIN + _LOOKS], axis=2))
        for histogram in (
            seen.ttft,
            seen.per_token,
            _binary(cell, seen, "failed"),
            _binary(cell, seen, "cut"),
        )
    ]
    return _first(np.any(tests, axis=0))


def sprt(bad: Floats, total: Floats, boundary: float, share: float, error: float) -> Looks:
    """Wald's test of `boundary` against `share`, both as they truly are; stops only for the latter."""
    looks = slice(_BEGIN, None)
    k, n = np.cumsum(bad[:, looks], axis=1), np.cumsum(total[:, looks], axis=1)
    ratio = k * np.log(share / boundary) + (n - k) * np.log((1 - share) / (1 - boundary))
    return _first(ratio >= np.log((1 - error) / error))


def canary_sum(cell: Cell, seen: Windows, field: str) -> Floats:
    """Return a field of the canary's pods together, [rollout, window]."""
    result: Floats = seen.pods[:, : cell.scale.canaries, :, FIELDS.index(field)].sum(axis=1)
    return result


def stable_sum(cell: Cell, seen: Windows, field: str) -> Floats:
    """Return a field of the stable pods together, [rollout, window]."""
    result: Floats = seen.pods[:, cell.scale.canaries :, :, FIELDS.index(field)].sum(axis=1)
    return result


def _ratios(seen: Windows) -> list[NDArray[np.bool_]]:
    return [_p95(histogram) for histogram in (seen.ttft, seen.per_token)]


def _p95(histogram: Floats) -> NDArray[np.bool_]:
    """Say where the canary's p95 of a window exceeds stable's by the ratio; an empty window fails nothing."""
    looks = histogram[:, :, _BEGIN : _BEGIN + _LOOKS]
    cumulated = np.cumsum(looks, axis=-1)
    total = cumulated[..., -1:]
    at = (cumulated >= 0.95 * total).argmax(axis=-1)
    edges = upper_edges(1.0)
    before = np.take_along_axis(
        np.concatenate([np.zeros_like(total), cumulated], axis=-1), at[..., None], -1
    )[..., 0]
    inside = np.take_along_axis(looks, at[..., None], -1)[..., 0]
    part = (0.95 * total[..., 0] - before) / np.maximum(inside, 1)
    # Interpolated on the logarithm inside of a bin 3/16 of an octave wide, so all but exact.
    value = edges[at] * 2.0 ** ((part - 1) * 9 / len(edges))
    both = (total[:, 0, :, 0] > 0) & (total[:, 1, :, 0] > 0)
    result: NDArray[np.bool_] = both & (value[:, 0] > _RATIO * value[:, 1])
    return result


def _share(cell: Cell, seen: Windows, field: str) -> Floats:
    looks = slice(_BEGIN, _BEGIN + _LOOKS)
    requests = canary_sum(cell, seen, "requests")[:, looks]
    result: Floats = canary_sum(cell, seen, field)[:, looks] / np.maximum(requests, 1)
    return result


def _binary(cell: Cell, seen: Windows, field: str) -> Floats:
    """Return a histogram of two bins: good, bad."""
    arms = []
    for total in (canary_sum, stable_sum):
        bad = total(cell, seen, field)
        arms.append(np.stack([total(cell, seen, "requests") - bad, bad], axis=-1))
    return np.stack(arms, axis=1)


def _mann_whitney(histogram: Floats) -> NDArray[np.bool_]:
    """Test by ranks, ties corrected, whether the canary is greater; [rollout, arm, look, bin] so far."""
    canary, stable = histogram[:, 0], histogram[:, 1]
    m, n = canary.sum(axis=-1), stable.sum(axis=-1)
    below = np.cumsum(stable, axis=-1) - stable / 2
    u = (canary * below).sum(axis=-1)
    both, ties = m + n, canary + stable
    correction = (ties**3 - ties).sum(axis=-1) / np.maximum(both * (both - 1), 1)
    deviation = np.sqrt(np.maximum(m * n / 12 * (both + 1 - correction), 1e-9))
    result: NDArray[np.bool_] = (m >= _KAYENTA_SAMPLES) & ((u - m * n / 2) / deviation > _SIGNIFICANT)
    return result


def _first(crossed: NDArray[np.bool_]) -> Looks:
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), -1)
