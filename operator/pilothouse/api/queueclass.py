"""QueueClass: a lane. What completion (interactive) and synthesis (queued, long) may ask of an engine."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec
from pilothouse.api.rules import Rule, ruled
from pilothouse.api.values import Duration, PositiveDuration


class Streaming(StrEnum):
    """Whether answers must be streamed."""

    REQUIRED = "Required"
    ALLOWED = "Allowed"


class SecretScan(StrEnum):
    """What happens to a prompt that carries a credential."""

    OFF = "Off"
    REPORT = "Report"
    REJECT = "Reject"


class OnFull(StrEnum):
    """What happens to a request that finds the queue full."""

    REJECT = "Reject"
    WAIT = "Wait"


class ObjectiveMetric(StrEnum):
    """What an objective measures."""

    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105 -- a token of text
    INTER_TOKEN_LATENCY = "InterTokenLatency"  # noqa: S105 -- the same
    END_TO_END_LATENCY = "EndToEndLatency"
    QUEUE_TIME = "QueueTime"
    SUCCESS = "Success"


class Requests(Spec):
    """What one request may ask for."""

    max_input_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    """The most prompt tokens of one request. Input and output cap together are vLLM's --max-model-len."""
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    """The most tokens that one request may generate."""
    timeout: PositiveDuration
    """How long one request may take from its arrival to its last token. Example: 15s."""
    streaming: Streaming = Streaming.ALLOWED
    """Required refuses requests that do not stream; Allowed takes both."""
    secret_scan: SecretScan = SecretScan.REPORT
    """What happens to a prompt that carries a credential: Off, Report (logged by kind, never by content) or
    Reject."""


class Concurrency(Spec):
    """How many requests one engine pod works on."""

    model_config = ruled(
        Rule(
            "(self.onFull == 'Wait') == (duration(self.maxWait) > duration('0s'))",
            "maxWait must be longer than 0s with onFull Wait, and 0s with onFull Reject",
            field=".maxWait",
        ),
    )

    per_replica: Annotated[int, Field(ge=1, le=8192)] = 64
    """How many requests one engine pod generates for at the same time: vLLM's --max-num-seqs."""
    queued_per_replica: Annotated[int, Field(ge=0, le=65536)] = 32
    """How many more may wait inside one engine pod."""
    on_full: OnFull = OnFull.REJECT
    """What one request more gets: Reject answers 429 with Retry-After, Wait holds it up to `maxWait`."""
    max_wait: Duration = Duration("0s")
    """How long a request waits for a place, with onFull Wait. Example: 5m."""


class Objective(Spec):
    """What share of requests must be how fast; the default check of every rollout in this lane."""

    model_config = ruled(
        Rule(
            "has(self.threshold) == (self.metric != 'Success')",
            "threshold must stand beside a latency metric, and not beside Success",
            field=".threshold",
        ),
    )

    metric: ObjectiveMetric
    """What is measured: TimeToFirstToken, InterTokenLatency, EndToEndLatency, QueueTime or Success."""
    threshold: PositiveDuration | None = None
    """How long it may take, for the latency metrics; Success has none. Example: 400ms."""
    ratio: Annotated[float, Field(gt=0, lt=1)]
    """The share of requests that must hold to it, between 0 and 1. Example: 0.95."""


class QueueClassSpec(Spec):
    """What a lane may ask for."""

    priority: Annotated[
        int, Field(ge=-1_000_000_000, le=1_000_000_000, json_schema_extra={"format": "int32"})
    ] = 0
    """Who gets GPUs first when they are short; a higher number goes first."""
    requests: Requests
    """What one request may ask for."""
    concurrency: Concurrency = Concurrency()
    """How many requests one engine pod works on."""
    drain: PositiveDuration = Duration("30s")
    """How long a pod that ends may take to finish what it generates. Example: 30s for completion, 10m for
    synthesis."""
    objectives: Annotated[tuple[Objective, ...], Field(max_length=16)] = ()
    """What share of requests must be how fast; the default checks of every rollout in this lane."""


class QueueClass(Resource):
    """A lane: the limits and objectives that models of one use (completion, synthesis) share."""

    model_config = ruled(
        Rule(
            "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
            "metadata.name must have at most 63 characters and no dots: pods carry it as a label",
        ),
    )

    spec: QueueClassSpec
    """What a lane may ask for."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""
