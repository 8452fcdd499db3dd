"""What a canary's pod must do before its first user's request, and what the pods' results come to.

`observe.preflight` talks to the pods; here is what it expects of them and what its findings mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.names import Reason, RolloutState
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.podstate import seconds_to_ready
from pilothouse.plan.probes import Tokens, difference, fingerprint
from pilothouse.plan.revision import Revision, revisions_of


@dataclass(frozen=True, slots=True)
class Expected:
    """What the canary's engines must do. `stable_name` is empty where there is no stable revision.

    `fingerprint` is the tokenizer's, None where it is not pinned; `keeps_tokenizer` says that canary and
    stable declare the same tokenizer. Lengths are in tokens.
    """

    served_name: str
    stable_name: str
    max_input_tokens: int
    max_output_tokens: int
    fingerprint: str | None
    keeps_tokenizer: bool

    @classmethod
    def of(cls, canary: Revision, stable: Revision | None) -> Self:
        """Read what the revisions were frozen with."""
        model, lane = canary.inputs["model"], canary.inputs["queueClass"]
        other = stable.inputs["model"] if stable else {}
        return cls(
            served_name=model["name"],
            stable_name=other.get("name", ""),
            max_input_tokens=lane["maxInputTokens"],
            max_output_tokens=lane["maxOutputTokens"],
            fingerprint=model["tokenizer"].get("fingerprint"),
            keeps_tokenizer=_tokenizer(model) == _tokenizer(other),
        )

    @property
    def cap(self) -> int:
        """How many tokens the engine's context holds."""
        return self.max_input_tokens + self.max_output_tokens

    @property
    def compares(self) -> bool:
        """Whether stable's tokens are needed."""
        return self.keeps_tokenizer or self.fingerprint is not None


@dataclass(frozen=True, slots=True)
class Preflight:
    """A canary to be tested: its ready pods, those of stable to compare with, and what is expected.

    `live` are the uids of all the canary's pods, ready or not.
    """

    live: frozenset[str]
    canary: tuple[Object, ...]
    stable: tuple[Object, ...]
    expected: Expected


@dataclass(frozen=True, slots=True)
class Findings:
    """What was seen of an engine that passed; `notes` say what could not be tested, and why."""

    fingerprint: str
    first_token_seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreflightOutcome:
    """The results of the live pods, sorted by uid; the first failure; the uids that have no result yet."""

    results: tuple[PreflightStatus, ...]
    failure: Cause | None
    pending: tuple[str, ...]


def preflight_of(observed: Observed) -> Preflight | None:
    """Return what is to be tested, or None where the policy asks for no preflight or no canary is tried."""
    canary, stable = _sides(observed)
    if not canary or not _is_tried(observed):
        return None
    pods = pods_of(observed.pods, canary.name)
    others = pods_of(observed.pods, stable.name) if stable else ()
    return Preflight(
        live=frozenset(pod["metadata"]["uid"] for pod in pods),
        canary=tuple(filter(is_ready, pods)),
        stable=tuple(filter(is_ready, others)),
        expected=Expected.of(canary, stable),
    )


def outcome(
    persisted: Sequence[PreflightStatus], results: Mapping[str, PreflightStatus], pods: Sequence[str]
) -> PreflightOutcome:
    """Merge the results on record with those that have just ended, for the pods (uids) that are live.

    A failure counts though its pod is gone meanwhile; it is then no longer among the results.
    """
    known = {each.pod: each for each in persisted} | dict(results)
    failed = (known[pod] for pod in sorted(known) if known[pod].reason)
    return PreflightOutcome(
        results=_told_once([known[pod] for pod in sorted(pods) if pod in known]),
        failure=next((_cause(each) for each in failed), None),
        pending=tuple(pod for pod in sorted(pods) if pod not in known),
    )


def _told_once(results: Sequence[PreflightStatus]) -> tuple[PreflightStatus, ...]:
    """Keep what several pods say alike with the first of them: a status is small."""
    said = {result.message: result.pod for result in reversed(results)}
    return tuple(
        result if said[result.message] == result.pod else result.model_copy(update={"message": ""})
        for result in results
    )


def name_conflict(expected: Expected) -> str | None:
    """Say that canary and stable are served under different names, which no clients could share."""
    if expected.stable_name in {"", expected.served_name}:
        return None
    return (
        f"it is served as {expected.served_name!r} and stable as {expected.stable_name!r}, so that each "
        "would refuse the requests meant for the other; a new name needs a new ModelDeployment"
    )


def tokenizer_change(expected: Expected, canary: Tokens, stable: Tokens | None) -> str | None:
    """Say how the canary's tokens of the probe texts are not those that they must be.

    The pinned fingerprint decides where there is one, else stable's tokens where the tokenizer was not meant
    to change. `stable` is None where stable has no ready pod: with nothing pinned, nothing is compared.
    """
    differs = difference(canary, stable) if stable is not None else None
    if expected.fingerprint is None:
        return differs if expected.keeps_tokenizer else None
    found = fingerprint(canary)
    if found == expected.fingerprint:
        return None
    pinned = f"the tokenizer's fingerprint is {found}, pinned is {expected.fingerprint}"
    return f"{pinned}; {differs}" if differs else pinned


def passed(pod: Object, findings: Findings) -> PreflightStatus:
    """Return the result of a pod that passed all tests."""
    ready = seconds_to_ready(pod)
    notes = (f"the tokenizer's fingerprint is {findings.fingerprint}", *findings.notes)
    return PreflightStatus(
        pod=pod["metadata"]["uid"],
        message="; ".join(notes),
        cold_start_seconds=None if ready is None else round(ready + findings.first_token_seconds, 3),
    )


def failed(pod: Object, reason: Reason, message: str) -> PreflightStatus:
    """Return the result of a pod that failed a test."""
    metadata = pod["metadata"]
    return PreflightStatus(pod=metadata["uid"], reason=reason, message=f"{metadata['name']}: {message}")


def _is_tried(observed: Observed) -> bool:
    """Tell whether a rollout goes on, by a policy that asks for a preflight: who drains needs none."""
    rollout, policy = observed.deployment.status.rollout, observed.policy or BUILT_IN
    goes_on = rollout is not None and rollout.state != RolloutState.DRAINING
    return goes_on and any(step.preflight for step in policy.steps)


def _sides(observed: Observed) -> tuple[Revision | None, Revision | None]:
    """Return the canary and the stable revision, as the status names them."""
    status, revisions = observed.deployment.status, revisions_of(observed)
    canary = revisions.get(status.canary.revision) if status.canary else None
    stable = revisions.get(status.stable.revision) if status.stable else None
    return canary, stable


def _tokenizer(model: Object) -> tuple[str | None, str | None]:
    tokenizer = model.get("tokenizer", {})
    return tokenizer.get("source"), tokenizer.get("revision")


def _cause(result: PreflightStatus) -> Cause:
    """Return a result's cause; a newer version's word for it is still a failed preflight."""
    changed = result.reason == Reason.TOKENIZER_CHANGED
    return Cause(Reason.TOKENIZER_CHANGED if changed else Reason.PREFLIGHT_FAILED, result.message)
