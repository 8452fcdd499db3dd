"""The status of a ModelDeployment: what runs, what is being tried, what was put back and why.

Words such as `phase` and `verdict` are plain text, so that a newer version's word leaves an object readable.
"""

from typing import Annotated

from pydantic import Field

from pilothouse.api.analysisstatus import AnalysisStatus
from pilothouse.api.common import ConditionedStatus, Status
from pilothouse.api.rules import list_map
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.api.values import Timestamp


class Weight(Status):
    """A share of the traffic, in percent."""

    desired: int
    """The share that the route asks for, in percent."""
    observed: float | None = None
    """The share that the engines counted, in percent."""


class RevisionStatus(Status):
    """One revision that runs."""

    revision: str
    """The revision's hash (10 hex digits); it ends the names of the revision's objects."""
    checkpoint_revision: str = ""
    """The pinned revision of the weights."""
    tokenizer_revision: str = ""
    """The pinned revision of the tokenizer."""
    license_id: Annotated[str, Field(alias="licenseID")] = ""
    """The license under which it is served."""
    ready_replicas: int = 0
    """How many of its pods are ready."""
    startup_seconds: float | None = None
    """How many seconds the fastest of its pods took from its start on a node to being ready."""


class CanaryStatus(RevisionStatus):
    """The revision that is being tried."""

    weight: Weight | None = None
    """Its share of the traffic, in percent."""


class CheckStatus(Status):
    """One check of the canary against stable, as last measured."""

    name: str
    """The check's name."""
    verdict: str
    """Pass, Fail, Inconclusive (too little evidence), Error (no measurement) or Deferred (to a step where it
    can be compared)."""
    canary: float | None = None
    """The canary's share of bad events, 0 to 1."""
    stable: float | None = None
    """Stable's share of bad events in the same windows, 0 to 1."""
    threshold: float | None = None
    """The share at which the check fails, 0 to 1."""
    samples: int = 0
    """How many of the canary's requests were counted."""
    evidence: float | None = None
    """How much speaks for a failure; the test decides when it crosses its bound."""
    message: str = ""
    """What was found, in a sentence."""


class PreflightStatus(Status):
    """What the preflight found of one pod."""

    pod: str
    """The pod's uid."""
    reason: str = ""
    """Why it failed, as one CamelCase word; empty where it passed."""
    message: str = ""
    """What was found, in a sentence."""
    cold_start_seconds: float | None = None
    """From the start of the pod to its first token."""


class RolloutStatus(Status):
    """Where a running rollout stands."""

    state: str
    """Waiting, Starting, Preflight, Evaluating, Shifting, Holding, Paused, Baking or Draining."""
    reason: str = ""
    """Why it is there and what it waits for, as one CamelCase word."""
    message: str = ""
    """What it waits for, in a sentence."""
    started_at: Timestamp | None = None
    """When the rollout began."""
    held_since: Timestamp | None = None
    """Since when the step's weight is reached; its time counts from here."""
    compared: bool = False
    """Whether latencies were judged at a step with like load on both sides."""
    stuck_since: Timestamp | None = None
    """Since when the step's time is over and its checks can't be decided."""
    blind_since: Timestamp | None = None
    """Since when measurements can't be had though the step's time is over."""
    capacity: str = ""
    """Where the canary's GPUs come from: Surge or InPlace."""
    paused: bool = False
    """Whether the command `pause` holds it."""
    waived: bool = False
    """Whether the command `promote` lets undecided checks pass on the way to the step's weight."""
    preflight: Annotated[tuple[PreflightStatus, ...], Field(json_schema_extra=list_map("pod"))] = ()
    """What the preflight found, pod by pod."""
    sampling: SamplingStatus | None = None
    """The counters as last read, so that a restart counts nothing twice and loses nothing."""
    analysis: AnalysisStatus | None = None
    """What the sequential test remembers."""
    step: int = 0
    """The current step, counted from 1."""
    steps: int = 0
    """How many steps there are: the policy's, and the promotion."""
    step_started_at: Timestamp | None = None
    """When the current step began."""
    checks: Annotated[tuple[CheckStatus, ...], Field(json_schema_extra=list_map("name"))] = ()
    """The checks as last measured."""


class RollbackStatus(Status):
    """The last rollback, and what caused it."""

    from_revision: str
    """The revision that failed."""
    to_revision: str
    """The revision that took the traffic back."""
    check: str = ""
    """The check that failed; empty for a hard failure such as a crash loop."""
    canary: float | None = None
    """What the check measured of the canary."""
    stable: float | None = None
    """What the check measured of stable."""
    threshold: float | None = None
    """The bound that was crossed."""
    samples: int = 0
    """How many of the canary's requests were counted."""
    reason: str
    """Why, as one CamelCase word."""
    message: str = ""
    """Why, in a sentence."""
    started_at: Timestamp
    """When the route was put back."""
    finished_at: Timestamp | None = None
    """When the failed revision's pods were gone."""


class RejectedRevision(Status):
    """A revision that failed and is not tried again until a person says retry."""

    revision: str
    """The revision's hash."""
    checkpoint_source: str = ""
    """Where its weights are from; others that wait for the same ones are held."""
    checkpoint_revision: str = ""
    """The pinned revision of its weights."""
    message: str = ""
    """Why, in a sentence."""
    reason: str
    """Why, as one CamelCase word."""
    time: Timestamp
    """When it was rejected."""


class LicenseStatus(Status):
    """Under which word the declared license is served, or refused."""

    id: str
    """The license id that the spec declares."""
    decision: str
    """Allow, Deny or RequireApproval; NoPolicy where no LicensePolicy exists."""
    policy: str = ""
    """The LicensePolicy that decided."""
    approval: str = ""
    """The LicenseApproval that allows it, by name."""
    ticket: str = ""
    """Where the approval is written down."""
    expires: Timestamp | None = None
    """When the approval ends."""


class FetchStatus(Status):
    """How far the fetch of the pinned artifacts has come, in the pod that has the most still to do."""

    pod: str
    """The pod's name."""
    phase: str
    """Asking (the hub), Waiting (for another pod's download), Downloading or Verifying."""
    bytes: Annotated[int, Field(json_schema_extra={"format": "int64"})] = 0
    """How much is there."""
    total_bytes: Annotated[int, Field(json_schema_extra={"format": "int64"})] = 0
    """How much there is; 0 while the hub has not said."""
    bytes_per_second: Annotated[int, Field(json_schema_extra={"format": "int64"})] = 0
    """How fast it comes."""


class ServedRevision(Status):
    """A revision that served, and when."""

    revision: str
    """The revision's hash."""
    checkpoint_revision: str = ""
    """The pinned revision of the weights."""
    tokenizer_revision: str = ""
    """The pinned revision of the tokenizer."""
    license_id: Annotated[str, Field(alias="licenseID")] = ""
    """The license under which it was served."""
    checkpoint_source: str = ""
    """Where the weights are from."""
    model: str = ""
    """The name by which clients asked for it."""
    policy: str = ""
    """The LicensePolicy that allowed it when it became stable; empty where there was none."""
    approval: str = ""
    """The LicenseApproval under which it was served when it became stable, if one was needed."""
    ticket: str = ""
    """Where that approval is written down."""
    served_from: Timestamp
    """When it became stable."""
    served_until: Timestamp | None = None
    """When another took its place; empty while it serves."""


class ModelDeploymentStatus(ConditionedStatus):
    """What Pilothouse observes of a ModelDeployment."""

    phase: str = ""
    """Pending, Starting, Ready, RollingOut, Paused, RollingBack or Degraded; the conditions say why."""
    url: str = ""
    """Where clients reach the model: the base URL for an OpenAI client."""
    replicas: int = 0
    """How many engine pods exist, all revisions together."""
    ready_replicas: int = 0
    """How many engine pods are ready, all revisions together."""
    selector: str = ""
    """The label selector of the engine pods, for `kubectl scale` and autoscalers."""
    stable: RevisionStatus | None = None
    """The revision that serves."""
    license: LicenseStatus | None = None
    """What the LicensePolicies say of the declared license."""
    fetch: FetchStatus | None = None
    """How far the fetch of the pinned artifacts has come, while one runs."""
    canary: CanaryStatus | None = None
    """The revision that is being tried, if any."""
    rollout: RolloutStatus | None = None
    """Where the running rollout stands, if any."""
    last_rollback: RollbackStatus | None = None
    """The last rollback, and what caused it."""
    rejected_revisions: Annotated[
        tuple[RejectedRevision, ...], Field(max_length=32, json_schema_extra=list_map("revision"))
    ] = ()
    """The last ten revisions that failed; they are not tried again until a person says retry."""
    last_command: str = ""
    """The command that was carried out last; the same text again does nothing."""
    history: Annotated[tuple[ServedRevision, ...], Field(max_length=10)] = ()
    """The last ten revisions that served, newest first."""
