"""Bounds of the sampling parameters, in the order and the words of vllm/sampling_params.py."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from harness.vllm_sim.errors import ApiError
from harness.vllm_sim.protocol import GenerationBody

GREEDY = 1e-5


class Breach(NamedTuple):
    """What is wrong, and the parameter that vLLM names for it, if it does."""

    message: str
    param: str | None = None
    value: object = None


def check(body: GenerationBody, max_tokens: int) -> None:
    """Raise ApiError for the first bound that the request breaks; `max_tokens` is what is left of it."""
    for breach in _breaches(body, max_tokens):
        raise ApiError(*breach)


def _breaches(body: GenerationBody, max_tokens: int) -> Iterator[Breach]:
    yield from _penalties(body)
    yield from _shape(body)
    yield from _lengths(body, max_tokens)
    if "" in body.stops:
        yield Breach("stop cannot contain an empty string.")
    if body.temperature is not None and body.temperature < GREEDY and body.choices > 1:
        yield Breach(f"n must be 1 when using greedy sampling, got {body.n}.")


def _penalties(body: GenerationBody) -> Iterator[Breach]:
    if body.n is not None and body.n < 1:
        yield Breach(f"n must be at least 1, got {body.n}.")
    for name, penalty in (("presence", body.presence_penalty), ("frequency", body.frequency_penalty)):
        if penalty is not None and not -2 <= penalty <= 2:
            yield Breach(f"{name}_penalty must be in [-2, 2], got {penalty}.")
    repetition = body.repetition_penalty
    if repetition is not None and not math.isfinite(repetition):
        yield Breach(f"repetition_penalty must be a finite number, got {repetition}.")
    if repetition is not None and repetition <= 0:
        yield Breach(f"repetition_penalty must be greater than zero, got {repetition}.")


def _shape(body: GenerationBody) -> Iterator[Breach]:
    """Of the distribution that tokens are drawn from."""
    temperature, top_p, min_p = body.temperature, body.top_p, body.min_p
    if temperature is not None and temperature < 0:
        yield Breach(f"temperature must be non-negative, got {temperature}.", "temperature", temperature)
    if temperature is not None and temperature > 2:
        yield Breach(f"temperature must be in [0, 2], got {temperature}.", "temperature", temperature)
    if top_p is not None and not 0 < top_p <= 1:
        yield Breach(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)
    if body.top_k is not None and body.top_k < -1:
        yield Breach(f"top_k must be 0 (disable), or at least 1, got {body.top_k}.")
    if min_p is not None and not 0 <= min_p <= 1:
        yield Breach(f"min_p must be in [0, 1], got {min_p}.")


def _lengths(body: GenerationBody, max_tokens: int) -> Iterator[Breach]:
    if max_tokens < 1:
        yield Breach(f"max_tokens must be at least 1, got {max_tokens}.", "max_tokens", max_tokens)
    if body.min_tokens < 0:
        yield Breach(f"min_tokens must be greater than or equal to 0, got {body.min_tokens}.")
    if body.min_tokens > max_tokens:
        yield Breach(
            f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {body.min_tokens}."
        )
