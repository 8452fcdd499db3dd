"""`promote`, `abort`, `pause`, `resume` and `retry`: which revision a word speaks of, if there is one.

The word itself is the annotation that `plan.commands` reads; here it is only written, never carried out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import RolloutStatus
from pilothouse.api.queueclass import QueueClass
from pilothouse.cli.cluster import Cluster
from pilothouse.errors import NotFound, NothingToDo
from pilothouse.kinds import MODEL_DEPLOYMENT, QUEUE_CLASS
from pilothouse.names import COMMAND, Reason, RolloutState, Verb
from pilothouse.plan.commands import problem
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.revision import hash_of, inputs_of

_UNTOUCHED: Final = (RolloutState.STARTING, RolloutState.PREFLIGHT)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a ModelDeployment stands.

    `target` is the revision that its spec asks for; None without its lane, and while a canary runs.
    """

    deployment: ModelDeployment
    target: str | None

    @property
    def name(self) -> str:
        """The deployment as messages name it."""
        return f"{self.deployment.metadata.namespace}/{self.deployment.metadata.name}"

    @property
    def canary(self) -> str | None:
        """The revision that is being tried."""
        canary = self.deployment.status.canary
        return canary.revision if canary else None

    @property
    def waiting(self) -> RolloutStatus | None:
        """The rollout, if it has not begun."""
        rollout = self.deployment.status.rollout
        return rollout if rollout and rollout.state == RolloutState.WAITING else None

    @property
    def rollout(self) -> RolloutStatus:
        """Where the rollout stands; without one, an empty state."""
        return self.deployment.status.rollout or RolloutStatus(state="")


async def command(cluster: Cluster, key: ObjectKey, verb: Verb, note: str, now: datetime) -> str:
    """Write a command, and say in a sentence what was written; raises NothingToDo."""
    standing = await _look(cluster, key)
    revision = revision_for(verb, standing)
    text = annotation(verb, revision, note, standing.deployment, now)
    await cluster.annotate(key, COMMAND, text)
    return f"{standing.name}: `{verb}` is said of revision {revision} {_where(standing)}"


def revision_for(verb: Verb, standing: Standing) -> str:
    """Return the revision that a word speaks of; raises NothingToDo where it would do nothing."""
    return _RULES[verb](standing)


def annotation(verb: Verb, revision: str, note: str, deployment: ModelDeployment, now: datetime) -> str:
    """Return the text of the annotation: with the time, where the operator knows the words already."""
    text = "/".join(part for part in (verb, revision, note) if part)
    known = (deployment.status.last_command, deployment.metadata.annotations.get(COMMAND))
    if text in known:
        said = f"{note} {now:%Y-%m-%dT%H:%M:%SZ}".strip()
        text = f"{verb}/{revision}/{said}"
    if flaw := problem({COMMAND: text}):
        raise NothingToDo(flaw)
    return text


async def _look(cluster: Cluster, key: ObjectKey) -> Standing:
    deployment = ModelDeployment.parse(await cluster.get(key))
    if deployment.status.canary:
        return Standing(deployment, None)
    lane = ObjectKey(QUEUE_CLASS.name, "", deployment.spec.queue_class_name)
    try:
        queue_class = QueueClass.parse(await cluster.get(lane))
    except (NotFound, ValidationError):
        return Standing(deployment, None)
    return Standing(deployment, hash_of(inputs_of(deployment, queue_class)))


def _abort(s: Standing) -> str:
    return s.canary or _not_begun(s)


def _pause(s: Standing) -> str:
    if s.rollout.paused:
        raise NothingToDo(f"{s.name}: revision {s.canary} is paused by command already")
    return s.canary or _not_begun(s)


def _promote(s: Standing) -> str:
    if s.waiting:
        why = f"{s.waiting.reason}: {s.waiting.message}"
        raise NothingToDo(f"{s.name}: nothing to promote before the rollout begins ({why})")
    canary = s.canary or _not_begun(s)
    if s.rollout.state in _UNTOUCHED:
        said = f"revision {canary} is in {s.rollout.state}, past which no promote goes"
        raise NothingToDo(f"{s.name}: {said}")
    return canary


def _resume(s: Standing) -> str:
    canary = s.canary or _not_begun(s)
    if s.deployment.spec.rollout.paused:
        raise NothingToDo(f"{s.name}: spec.rollout.paused is true; set it to false in the manifest")
    if s.rollout.reason == Reason.AWAITING_PROMOTION and not s.rollout.paused:
        raise NothingToDo(f"{s.name}: revision {canary} waits for `promote`, not for `resume`")
    if s.rollout.state not in (RolloutState.PAUSED, RolloutState.WAITING) and not s.rollout.paused:
        raise NothingToDo(f"{s.name}: revision {canary} is not paused, it is in {s.rollout.state}")
    return canary


def _retry(s: Standing) -> str:
    if s.canary:
        raise NothingToDo(f"{s.name}: revision {s.canary} is being tried already, in {s.rollout.state}")
    rejected = [each.revision for each in s.deployment.status.rejected_revisions]
    if s.target in rejected or _is_held(s):
        return _target(s)
    if s.waiting:
        why = f"{s.waiting.reason}: {s.waiting.message}"
        raise NothingToDo(f"{s.name}: revision {s.target} was not rejected, it waits ({why})")
    said = f"the spec asks for revision {s.target}, which was not rejected"
    raise NothingToDo(f"{s.name}: {said} (rejected: {', '.join(rejected) or 'none'})")


def _is_held(s: Standing) -> bool:
    return s.waiting is not None and s.waiting.reason == Reason.SIBLING_FAILED


def _not_begun(s: Standing) -> str:
    """Return the revision that waits to be tried; raises NothingToDo where none does."""
    if s.waiting:
        return _target(s)
    if s.rollout.state == RolloutState.DRAINING:
        raise NothingToDo(f"{s.name}: the rollout has ended ({s.rollout.reason}: {s.rollout.message})")
    stable = s.deployment.status.stable
    serves = f"revision {stable.revision} serves" if stable else "nothing serves yet"
    raise NothingToDo(f"{s.name}: no rollout is under way; {serves}")


def _target(s: Standing) -> str:
    if s.target:
        return s.target
    lane = s.deployment.spec.queue_class_name
    raise NothingToDo(f"{s.name}: QueueClass {lane} does not exist, so the spec asks for no revision")


_RULES: Final[Mapping[Verb, Callable[[Standing], str]]] = {
    Verb.PROMOTE: _promote,
    Verb.ABORT: _abort,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.RETRY: _retry,
}


def _where(s: Standing) -> str:
    if not s.rollout.state:
        return "(rejected before); the operator takes it up within seconds"
    step = f", step {s.rollout.step} of {s.rollout.steps}" if s.rollout.steps else ""
    return f"({s.rollout.state}{step}); the operator takes it up within seconds"


def key_of_model(namespace: str, name: str) -> ObjectKey:
    """Name a ModelDeployment."""
    return ObjectKey(MODEL_DEPLOYMENT.name, namespace, name)
