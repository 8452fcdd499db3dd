"""vLLM's series that decisions read: their names, the edges of their buckets, and what they add up to.

Names and edges are those that vLLM 0.32.0 exports (tests/contract/data), the same since 0.12 where it had
them; `vllm:admission_rejections_total` came after 0.29 and counts as 0 before.
"""

from typing import Final

from pilothouse.plan.readings import Reading

FINISHED: Final = "vllm:request_success_total"
"""By finished reason. Despite the name errors and aborts are in it."""
HTTP_REQUESTS: Final = "http_requests_total"
"""By class of status, of the generation paths."""
REFUSED: Final = "vllm:admission_rejections_total"
"""Requests that found the engine's queue full and got a 503."""
PREEMPTIONS: Final = "vllm:num_preemptions_total"
PROMPT_TOKENS: Final = "vllm:prompt_tokens_total"
GENERATION_TOKENS: Final = "vllm:generation_tokens_total"
RUNNING: Final = "vllm:num_requests_running"
WAITING: Final = "vllm:num_requests_waiting"
CACHE_USE: Final = "vllm:kv_cache_usage_perc"
"""0 to 1, despite the name. It moves with every step of a long prefill, which counts no token."""
PROCESS_START: Final = "process_start_time_seconds"
PROMPT_LENGTHS: Final = "vllm:request_prompt_tokens"
FIRST_TOKEN: Final = "vllm:time_to_first_token_seconds"  # noqa: S105 -- a token of text
INTER_TOKEN: Final = "vllm:inter_token_latency_seconds"  # noqa: S105 -- the same
END_TO_END: Final = "vllm:e2e_request_latency_seconds"
QUEUE_TIME: Final = "vllm:request_queue_time_seconds"

_REQUEST_LATENCY: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *(60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
EDGES: Final = {
    FIRST_TOKEN: (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
    ),
    INTER_TOKEN: (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    ),
    END_TO_END: _REQUEST_LATENCY,
    QUEUE_TIME: _REQUEST_LATENCY,
}
"""The finite bucket edges in seconds, unless --custom-histogram-buckets sets others."""

REASONS: Final = ("stop", "length", "abort", "error", "repetition")


def under_way(reading: Reading) -> float:
    """Count the requests that the engine works on or lets wait; 0 where it does not say."""
    return reading.gauges.get(RUNNING, 0.0) + reading.gauges.get(WAITING, 0.0)


def finished(reading: Reading, *reasons: str) -> float | None:
    """Count the requests that the engine finished for these reasons; None where it does not say.

    A reason that an older engine does not know counts 0.
    """
    known = {reason: reading.counters.get(f"{FINISHED}/{reason}") for reason in REASONS}
    if all(count is None for count in known.values()):
        return None
    return sum(known[reason] or 0.0 for reason in reasons)


def server_errors(reading: Reading) -> float:
    """Count the answers with a 5xx status; the series appears with the first one."""
    return reading.counters.get(f"{HTTP_REQUESTS}/5xx", 0.0)


def refused(reading: Reading) -> float:
    """Count the requests that found the queue full."""
    return reading.counters.get(REFUSED, 0.0)


def errors(reading: Reading) -> float | None:
    """Count what went wrong in the engine or its server; None where the engine does not say.

    An engine's error ends a stream that began with status 200, an error before the engine is only a status:
    both must be added. One that is both is counted twice, in every total as well and on both sides alike. A
    full queue is load, no error.
    """
    failed = finished(reading, "error")
    if failed is None:
        return None
    return failed + max(0.0, server_errors(reading) - refused(reading))


def answered(reading: Reading) -> float | None:
    """Count the requests that ended, however they did; None where the engine does not say."""
    ended = finished(reading, *REASONS)
    return None if ended is None else ended + server_errors(reading)


def is_busy(reading: Reading) -> bool:
    """Tell whether the engine had requests to work on at `at`; a reading that may be old does not say."""
    return reading.fresh and any(reading.gauges.get(name, 0.0) > 0 for name in (RUNNING, WAITING))
