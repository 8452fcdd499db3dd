"""The result of the benchmark of rollbacks, as it is published."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from measure import percentile, table

PER_MINUTE = 2000
WEIGHT = 50
"""The new revision's share of the requests, in percent."""


@dataclass(frozen=True)
class Trial:
    """One rollback; seconds since the first bad answer.

    Attributes:
        routed: when the API server showed the route without the bad revision.
        reached: when the last request that it got was asked.
        bad: how many callers got a bad answer.
        lost: how many others got none, or none that was whole.
        reason: why, in the roller's own word.

    """

    routed: float
    reached: float
    bad: int
    lost: int
    reason: str


@dataclass(frozen=True)
class Cell:
    """All trials of one kind; None for a revision that lost its traffic while nothing was wrong with it."""

    roller: str
    fault: str
    trials: Sequence[Trial | None]


HEAD = (
    "rolled back by",
    "what goes wrong",
    "n",
    "false alarms",
    "route back: median",
    "p95",
    "last request: median",
    "p95",
    "bad answers: median",
    "others lost",
    "reason",
)
TEXT = f"""# Rollback

A new revision gets {WEIGHT} % of {PER_MINUTE:,} requests a minute through Envoy Gateway, two thirds of them
streamed, and goes wrong after it has served for a while. Seconds from the first bad answer that a caller got:
to the route without it, as a watch of the API server shows it, and to the last request that was sent
to the revision. Bad answers are all that it gave from then on; others lost are requests that stable did not
answer whole. A false alarm is a revision that was put back before anything was wrong with it; it counts in n.

"""
PEER = """
Argo Rollouts runs as a process of this machine, built from its Go module, with a Prometheus that scrapes
every second. Its own plugin for Gateway API is in no Go module proxy; the one used here does as it does: it
reads the route and updates it. Errors: the share of 5xx over 5 s is above 0.05. Slowness: the p95 of the
first token over 10 s is above 1.25 times stable's.
"""


def report(about: str, cells: Sequence[Cell]) -> str:
    """Return the result as it is published."""
    return f"{TEXT}{about}\n{table(HEAD, map(_row, cells))}{PEER}"


def _row(cell: Cell) -> tuple[str, ...]:
    trials = [trial for trial in cell.trials if trial]
    counts = (cell.roller, cell.fault, str(len(cell.trials)), str(len(cell.trials) - len(trials)))
    return counts + (_times(trials) if trials else ("",) * (len(HEAD) - len(counts)))


def _times(trials: Sequence[Trial]) -> tuple[str, ...]:
    routed, reached = [t.routed for t in trials], [t.reached for t in trials]
    return (
        f"{median(routed):.2f} s",
        f"{percentile(routed, 95):.2f} s",
        f"{median(reached):.2f} s",
        f"{percentile(reached, 95):.2f} s",
        f"{median(t.bad for t in trials):.0f}",
        str(sum(t.lost for t in trials)),
        ", ".join(sorted({t.reason for t in trials})),
    )
