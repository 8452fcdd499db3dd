"""Whether a spec can be carried out: an ordered list of checks, the first refusal wins.

What one object can tell is refused by the CRD at admission. Here stands what only the cluster knows, and what
depends on the engine's release.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pilothouse.names import Reason
from pilothouse.plan import flags
from pilothouse.plan.arguments import engine_arguments, flag_of, owned_flags
from pilothouse.plan.observed import Observed


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something can't be: the reason that people look up, and a sentence that names the field."""

    reason: Reason
    message: str


def refusal_of(observed: Observed) -> Refusal | None:
    """Return why the spec can't be carried out, or None where it can."""
    return next((refusal for check in _CHECKS if (refusal := check(observed))), None)


def _queue_class_exists(observed: Observed) -> Refusal | None:
    if observed.queue_class:
        return None
    name = observed.deployment.spec.queue_class_name
    return Refusal(Reason.QUEUE_CLASS_NOT_FOUND, f'spec.queueClassName: there is no QueueClass "{name}"')


def _policy_exists(observed: Observed) -> Refusal | None:
    if observed.policy:
        return None
    name = observed.deployment.spec.rollout.policy_name
    return Refusal(Reason.POLICY_NOT_FOUND, f'spec.rollout.policyName: there is no RolloutPolicy "{name}"')


def _engine_version_is_known(observed: Observed) -> Refusal | None:
    if _engine_version(observed):
        return None
    image = observed.deployment.spec.engine.image
    return Refusal(
        Reason.ENGINE_VERSION_UNKNOWN,
        f"spec.engine.version: the tag of {image} does not tell the vLLM release; set it here",
    )


def _extra_arguments_are_free(observed: Observed) -> Refusal | None:
    owned = owned_flags(observed.deployment.spec.engine.extra_args)
    if not owned:
        return None
    listed = ", ".join(flag_of(word) for word in owned)
    return Refusal(
        Reason.ARGUMENT_NOT_ALLOWED,
        f"spec.engine.extraArgs: {listed} is set by Pilothouse and can't be given here",
    )


def _engine_knows_the_flags(observed: Observed) -> Refusal | None:
    version = _engine_version(observed)
    if not version or not observed.queue_class:
        return None
    words = engine_arguments(observed.deployment, observed.queue_class)
    lacking = [
        flag_of(word)
        for word in words
        if word.startswith("--") and not flags.supports(version, flag_of(word))
    ]
    if not lacking:
        return None
    return Refusal(
        Reason.ARGUMENT_NOT_SUPPORTED, f"spec.engine: vLLM {version} does not have {', '.join(lacking)}"
    )


_CHECKS: Final[tuple[Callable[[Observed], Refusal | None], ...]] = (
    _queue_class_exists,
    _policy_exists,
    _engine_version_is_known,
    _extra_arguments_are_free,
    _engine_knows_the_flags,
)


def _engine_version(observed: Observed) -> flags.Version | None:
    engine = observed.deployment.spec.engine
    return flags.parse_version(engine.version) if engine.version else flags.version_of_tag(engine.image)
