"""Whether a spec can be carried out: an ordered list of checks, the first refusal wins.

What one object can tell is refused by the CRD at admission. Here stands what only the cluster knows, and what
depends on the engine's release.
"""

from collections.abc import Callable, Iterable
from typing import Final

from pilothouse.names import Reason
from pilothouse.plan import flags
from pilothouse.plan.arguments import flag_of, own_arguments, owned_flags
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Observed


def refusal_of(observed: Observed) -> Cause | None:
    """Return why the spec can't be carried out, or None where it can."""
    return next((refusal for check in _CHECKS if (refusal := check(observed))), None)


def _queue_class_is_there(observed: Observed) -> Cause | None:
    if observed.queue_class:
        return None
    named = f'QueueClass "{observed.deployment.spec.queue_class_name}"'
    if flaw := observed.unreadable.get("QueueClass"):
        message = f"spec.queueClassName: {named} can't be read: {flaw}"
        return Cause(Reason.QUEUE_CLASS_UNREADABLE, message)
    return Cause(Reason.QUEUE_CLASS_NOT_FOUND, f"spec.queueClassName: there is no {named}")


def _policy_is_there(observed: Observed) -> Cause | None:
    if observed.policy:
        return None
    named = f'RolloutPolicy "{observed.deployment.spec.rollout.policy_name}"'
    if flaw := observed.unreadable.get("RolloutPolicy"):
        message = f"spec.rollout.policyName: {named} can't be read: {flaw}"
        return Cause(Reason.POLICY_UNREADABLE, message)
    return Cause(Reason.POLICY_NOT_FOUND, f"spec.rollout.policyName: there is no {named}")


def _engine_version_is_known(observed: Observed) -> Cause | None:
    if _engine_version(observed):
        return None
    image = observed.deployment.spec.engine.image
    return Cause(
        Reason.ENGINE_VERSION_UNKNOWN,
        f"spec.engine.version: the tag of {image} does not tell the vLLM release; set it here",
    )


def _extra_arguments_are_free(observed: Observed) -> Cause | None:
    owned = owned_flags(observed.deployment.spec.engine.extra_args)
    if not owned:
        return None
    listed = ", ".join(flag_of(word) for word in owned)
    return Cause(
        Reason.ARGUMENT_NOT_ALLOWED,
        f"spec.engine.extraArgs: {listed} is set by Pilothouse and can't be given here",
    )


def _engine_has_what_is_needed(observed: Observed) -> Cause | None:
    if not observed.queue_class:
        return None
    lacking = _lacking(observed, own_arguments(observed.deployment, observed.queue_class))
    if not lacking:
        return None
    message = (
        f"spec.engine.image: vLLM {_engine_version(observed)} does not have {lacking}, which Pilothouse sets"
    )
    return Cause(Reason.ARGUMENT_NOT_SUPPORTED, message)


def _engine_has_the_extra_arguments(observed: Observed) -> Cause | None:
    lacking = _lacking(observed, observed.deployment.spec.engine.extra_args)
    if not lacking:
        return None
    message = f"spec.engine.extraArgs: vLLM {_engine_version(observed)} does not have {lacking}"
    return Cause(Reason.ARGUMENT_NOT_SUPPORTED, message)


def _lacking(observed: Observed, words: Iterable[str]) -> str:
    """List the flags among these words that the engine's release does not have."""
    version = _engine_version(observed)
    named = (flag_of(word) for word in words if word.startswith("--"))
    return ", ".join(flag for flag in named if version and not flags.supports(version, flag))


_CHECKS: Final[tuple[Callable[[Observed], Cause | None], ...]] = (
    _queue_class_is_there,
    _policy_is_there,
    _engine_version_is_known,
    _extra_arguments_are_free,
    _engine_has_what_is_needed,
    _engine_has_the_extra_arguments,
)


def _engine_version(observed: Observed) -> flags.Version | None:
    engine = observed.deployment.spec.engine
    return flags.parse_version(engine.version) if engine.version else flags.version_of_tag(engine.image)
