"""The result as it is published."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.guard import alone
from benchmarks.guard.engines import PLACES
from benchmarks.guard.load import PROMPT_BYTES, TOKENS, Round, Rounds
from benchmarks.measure import table

TEXT = f"""# The guard

Two processes of `vllm-sim` with the same flags, one with the guard and one without, loaded in turn. Every
check of the guard is on: limits, tenants and users, a packing trace, the scan for credentials before the
engine (`Reject`), and the keyed hash. Prompts are {PROMPT_BYTES:,} bytes of code, streams {TOKENS[0]} to
{TOKENS[-1]} tokens long.

"""
WOKEN = """It is the engine's process that wakes them, and a write that wakes takes longer than one that
finds them awake. Tokens that follow closely find them awake; some microseconds more between two, whoever
needs them, and each token has to wake them. Callers on another machine are woken by that machine, so the
goal is held to callers that stay awake.
"""
GOALS = "The goal is at most 3 % of the throughput at saturation, and 1 ms to the first token (p50).\n"


def report(
    about: str, costs: Mapping[int, alone.Cost], delays: Sequence[float], rounds: Rounds, woken: Rounds
) -> str:
    """Return the page; `woken` are the rounds of callers that sleep."""
    return (
        f"{TEXT}{about}{GOALS}\n"
        f"All {PLACES} sequences of the engine taken, pairs of rounds in turn; in brackets the middle half "
        f"of the {len(rounds.bare)} pairs:\n\n{_saturated(rounds)}\n"
        f"{_share_of_time(rounds)}\n\n"
        f"With callers that sleep until a token wakes them, {len(woken.bare)} pairs, the first token is\n"
        f"{_spread(woken.delays(), 1e3, 'ms')} later with the guard, and the throughput "
        f"{_spread(woken.slowdowns(), 100, '%')} lower.\n{WOKEN}\n"
        f"One request at a time, {len(delays)} pairs: the first token is "
        f"{_spread(delays, 1e3, 'ms')} later with the guard.\n\n"
        f"The guard alone in a process, CPU time for a stream of {alone.TOKENS} tokens:\n\n"
        f"{_alone(costs)}"
    )


def _saturated(rounds: Rounds) -> str:
    first = [_milliseconds(_first(some)) for some in (rounds.bare, rounds.guarded)]
    cpu = [_milliseconds(_cpu_each(some)) for some in (rounds.bare, rounds.guarded)]
    speed = [f"{median(r.throughput for r in some):.2f}" for some in (rounds.bare, rounds.guarded)]
    more = _cpu_each(rounds.guarded) - _cpu_each(rounds.bare)
    return table(
        ("", "without", "with the guard", "difference, pair by pair"),
        (
            ("streams a second", *speed, f"{_spread(rounds.slowdowns(), 100, '%')} fewer"),
            ("first token, p50", *first, f"{_spread(rounds.delays(), 1e3, 'ms')} later"),
            ("CPU time for a stream", *cpu, f"{_milliseconds(more)} more"),
        ),
    )


def _share_of_time(rounds: Rounds) -> str:
    streams = sum(r.streams for r in (*rounds.bare, *rounds.guarded))
    busy = sum(r.cpu for r in rounds.guarded) / sum(r.seconds for r in rounds.guarded)
    return f"{streams:,} streams, all whole. The process with the guard used {busy:.0%} of a core."


def _alone(costs: Mapping[int, alone.Cost]) -> str:
    rows = (
        (f"{size:,} bytes", f"{cost.before * 1e6:.0f} µs", f"{cost.after * 1e6:.0f} µs")
        for size, cost in costs.items()
    )
    return table(("prompt", "before the engine has it", "from then to the line in the log"), rows)


def _first(rounds: Sequence[Round]) -> float:
    return median(value for each in rounds for value in each.first)


def _cpu_each(rounds: Sequence[Round]) -> float:
    return sum(r.cpu for r in rounds) / sum(r.streams for r in rounds)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _spread(values: Sequence[float], scale: float, unit: str) -> str:
    ordered = sorted(value * scale for value in values)
    low, high = ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
    return f"{median(ordered):.2f} {unit} ({low:.2f} to {high:.2f})"
