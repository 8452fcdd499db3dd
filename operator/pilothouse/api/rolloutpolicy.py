"""RolloutPolicy: how a new revision gets traffic: steps, checks, bake time, what happens on no data."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, LocalReference, Resource, Spec
from pilothouse.api.rules import Rule, list_map, ruled
from pilothouse.api.values import DnsName, Duration, PositiveDuration, Url


class SampleSource(StrEnum):
    """Where measurements come from."""

    SCRAPE = "Scrape"
    PROMETHEUS = "Prometheus"


class CheckMetric(StrEnum):
    """What a check counts as a bad event, without a threshold of its own."""

    FINISH_REASON_LENGTH = "FinishReasonLength"
    PREEMPTION = "Preemption"


class Action(StrEnum):
    """What happens when a check can't be decided."""

    PAUSE = "Pause"
    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Preflight(Spec):
    """Test the canary's own pods before any user's request; has no settings."""


class Pause(Spec):
    """Wait until a person says promote; has no settings."""


class Evaluate(Spec):
    """Score the canary by an EvaluationSuite."""

    suite_name: DnsName
    """The EvaluationSuite in the ModelDeployment's namespace."""


class Step(Spec):
    """One step of a rollout: exactly one of preflight, evaluate, weight and pause."""

    model_config = ruled(
        Rule(
            "[has(self.preflight), has(self.evaluate), has(self.weight), has(self.pause)].exists_one(x, x)",
            "exactly one of preflight, evaluate, weight and pause must be set",
        ),
        Rule(
            "has(self.hold) == has(self.weight)",
            "hold must stand beside weight, and only there",
            field=".hold",
        ),
    )

    preflight: Preflight | None = None
    """Test the canary's own pods before any user's request. Only as the first step: `preflight: {}`."""
    evaluate: Evaluate | None = None
    """Score the canary by an EvaluationSuite."""
    weight: Annotated[int, Field(ge=1, le=99)] | None = None
    """The canary's share of the traffic, in percent, 1 to 99; rises from step to step."""
    hold: PositiveDuration | None = None
    """The least time at this weight; required beside `weight`. Example: 5m."""
    pause: Pause | None = None
    """Wait until a person says promote: `pause: {}`."""


class Prometheus(Spec):
    """The Prometheus to ask."""

    url: Url
    """The base URL, without credentials. Example: http://prometheus.monitoring:9090."""
    secret_ref: LocalReference | None = None
    """A Secret in Pilothouse's namespace whose key `token` is sent as bearer token."""


class Queries(Spec):
    """Two PromQL queries, bad over total; `$revision` stands for the revision's hash."""

    bad: Annotated[str, Field(min_length=1, max_length=2048)]
    """The query that counts bad events."""
    total: Annotated[str, Field(min_length=1, max_length=2048)]
    """The query that counts all events."""


class Check(Spec):
    """A check beyond the lane's objectives: a share of bad events, canary against stable."""

    model_config = ruled(
        Rule(
            "has(self.metric) != has(self.prometheus)",
            "exactly one of metric and prometheus must be set",
            field=".metric",
        ),
    )

    name: DnsName
    """The check's name, as status and Events show it."""
    metric: CheckMetric | None = None
    """A built-in share: FinishReasonLength (answers cut at the output cap) or Preemption."""
    prometheus: Queries | None = None
    """Your own share, in place of `metric`."""
    max_increase: Annotated[float, Field(gt=0, lt=1)]
    """By how much the canary's share may exceed stable's, between 0 and 1. Example: 0.02 for two points of
    percent."""


class Patience(Spec):
    """How long to wait for a decision, and what to do then."""

    after: PositiveDuration
    """How long to wait. Example: 15m."""
    action: Action = Action.PAUSE
    """What to do then: Pause, Rollback or Hold. Promoting on no evidence does not exist."""


class Analysis(Spec):
    """How the canary is measured against stable."""

    model_config = ruled(
        Rule(
            "has(self.prometheus) || self.source != 'Prometheus'",
            "prometheus must be set with source Prometheus",
            field=".prometheus",
        ),
        Rule(
            "has(self.prometheus) || !has(self.checks) || !self.checks.exists(c, has(c.prometheus))",
            "prometheus must be set where a check has queries of its own",
            field=".prometheus",
        ),
        Rule(
            "duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('5m')",
            "interval must be between 1s and 5m",
            field=".interval",
        ),
    )

    source: SampleSource = SampleSource.SCRAPE
    """Where measurements come from: Scrape reads the pods' own /metrics, Prometheus asks `prometheus`."""
    prometheus: Prometheus | None = None
    """The Prometheus for source Prometheus and for checks with queries of their own."""
    interval: PositiveDuration = Duration("5s")
    """How often is measured. Example: 5s."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The probability that a good revision is rolled back: of one whole rollout, all checks together."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """How many of the canary's requests a step must see before it can pass."""
    warmup_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """How many of each new pod's first requests are not counted."""
    checks: Annotated[tuple[Check, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Checks beyond the lane's objectives."""
    on_inconclusive: Patience = Patience(after=Duration("15m"))
    """What happens when too few requests come to decide."""
    on_error: Patience = Patience(after=Duration("10m"))
    """What happens when measurements can't be had."""


_WEIGHTS: Final = "self.filter(s, has(s.weight)).map(s, s.weight)"


class RolloutPolicySpec(Spec):
    """How a new revision gets traffic."""

    steps: Annotated[
        tuple[Step, ...],
        Field(min_length=1, max_length=32),
        Rule(
            "self.filter(s, has(s.preflight)).size() == (has(self[0].preflight) ? 1 : 0)",
            "must have preflight at most once, and as the first step",
        ),
        Rule(
            f"{_WEIGHTS}.isSorted() && {_WEIGHTS}.all(w, {_WEIGHTS}.exists_one(v, v == w))",
            "must have weights that rise from step to step",
        ),
    ]
    """The steps, in order; after the last one the canary gets all traffic."""
    analysis: Analysis = Analysis()
    """How the canary is measured against stable."""
    bake: Annotated[Duration, Rule("duration(self) <= duration('24h')", "must be at most 24h")] = Duration(
        "10m"
    )
    """How long the old pods stay after the canary got all traffic, so that a rollback is immediate."""
    startup_deadline: PositiveDuration = Duration("30m")
    """How long pods of a new revision may take to be ready, download and load included."""
    max_concurrent_rollouts: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many ModelDeployments that use this policy may roll out at the same time."""


class RolloutPolicy(Resource):
    """How a new revision gets traffic: steps, checks, bake time, what happens on no data."""

    spec: RolloutPolicySpec
    """How a new revision gets traffic."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""


BUILT_IN: Final = RolloutPolicySpec(
    steps=(
        Step(preflight=Preflight()),
        Step(weight=5, hold=Duration("2m")),
        Step(weight=25, hold=Duration("5m")),
        Step(weight=50, hold=Duration("5m")),
    )
)
"""What is followed where a ModelDeployment names no RolloutPolicy."""
