"""The engines' counters as last read, so that a restart counts nothing twice and loses nothing.

Numbers are whole, names are short and lists are bounded: all of it must stay small in a status.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, PlainSerializer

from pilothouse.api.common import Status
from pilothouse.api.rules import list_map


def _with_milliseconds(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"


Instant = Annotated[AwareDatetime, PlainSerializer(_with_milliseconds, return_type=str, when_used="json")]
"""A moment to the millisecond: windows are seconds long."""

Count = Annotated[int, Field(json_schema_extra={"format": "int64"})]
"""A cumulative count since the engine started; -1 where it was never read."""


class PodCounters(Status):
    """One pod's counters as last read."""

    pod: str
    """The pod's uid; empty for what Prometheus said of the whole revision."""
    started: Count = 0
    """When the engine's process started, in seconds since 1970; 0 where it does not say."""
    requests: Count
    """Requests that ended."""
    arrived: Count = 0
    """Requests that came: those that ended and those under way."""
    errors: Count
    """Errors among them."""
    prompt: Count
    """Prompt tokens."""
    generated: Count
    """Generated tokens."""
    lengths: tuple[Count, ...] = ()
    """Requests by the length of their prompt."""
    counts: tuple[Count, ...] = ()
    """Bad and all events of each check, check by check."""
    cache: int = 0
    """How full the engine's cache was, in millionths."""
    warming: bool | None = None
    """Whether its first requests are still left out."""
    busy: bool | None = None
    """Whether it worked on a request."""
    stuck_since: Instant | None = None
    """Since when it works on requests and nothing comes of it."""
    unread_since: Instant | None = None
    """Since when it could not be read."""


class ArmCounters(Status):
    """The pods of one side."""

    revision: str = ""
    """The revision's hash."""
    warming: int = 0
    """How many pods' first requests are still left out."""
    storm_errors: int = 0
    """Errors of the samples in a row in which at least every fifth request failed."""
    storm_requests: int = 0
    """Requests of the same samples."""
    pods: Annotated[tuple[PodCounters, ...], Field(max_length=10, json_schema_extra=list_map("pod"))] = ()
    """The counters, pod by pod."""


class SamplingStatus(Status):
    """What the next reading is compared with."""

    sampled_at: Instant
    """When the last sample was counted."""
    definition: str = ""
    """A digest of what the checks mean; counts of another one are not compared."""
    checks: tuple[str, ...] = ()
    """The checks' names, in the order of each pod's `counts`."""
    canary: ArmCounters = ArmCounters()
    """The side that is tried."""
    stable: ArmCounters = ArmCounters()
    """The side that it is compared with."""
