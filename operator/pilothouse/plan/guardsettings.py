"""What the guard of one revision's pods holds requests to: `settings.json`, as `guard/` reads it.

The caps are those that the revision was frozen with, since its engine has them too; all else is the queue
class as it is now.
"""

from pilothouse.api.queueclass import QueueClassSpec
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.tenants import knows_callers, tenant_limits

_VERSION = 1


def guard_settings(observed: Observed, revision: Revision, live: Object) -> Object:
    """Return the settings; of a queue class that is gone those that are live stay in force."""
    if not observed.queue_class:
        return live and live | _callers(observed)
    return _lane(observed, observed.queue_class.spec, revision) | _callers(observed)


def _callers(observed: Observed) -> Object:
    return {
        "callers": "Known" if knows_callers(observed) else "Any",
        "tenants": tenant_limits(observed),
    }


def _lane(observed: Observed, lane: QueueClassSpec, revision: Revision) -> Object:
    frozen = {
        "maxInputTokens": lane.requests.max_input_tokens,
        "maxOutputTokens": lane.requests.max_output_tokens,
        "perReplica": lane.concurrency.per_replica,
        "queuedPerReplica": lane.concurrency.queued_per_replica,
        **revision.inputs.get("queueClass", {}),
    }
    return {
        "version": _VERSION,
        "identity": _identity(observed, revision),
        "requests": {
            "maxInputTokens": frozen["maxInputTokens"],
            "maxOutputTokens": frozen["maxOutputTokens"],
            "timeoutSeconds": lane.requests.timeout.seconds,
            "streaming": lane.requests.streaming,
            "secretScan": lane.requests.secret_scan,
        },
        "concurrency": {
            "perReplica": frozen["perReplica"],
            "queuedPerReplica": frozen["queuedPerReplica"],
            "onFull": lane.concurrency.on_full,
            "maxWaitSeconds": lane.concurrency.max_wait.seconds,
        },
    }


def _identity(observed: Observed, revision: Revision) -> Object:
    metadata, spec, pins = observed.deployment.metadata, observed.deployment.spec, revision.pins
    model, lane = revision.inputs["model"], revision.inputs.get("queueClass", {})
    return {
        "namespace": metadata.namespace,
        "deployment": metadata.name,
        "revision": revision.name,
        "model": model.get("name") or spec.model.name or metadata.name,
        "modelRevision": pins["checkpointRevision"],
        "tokenizerRevision": pins["tokenizerRevision"],
        "licenseID": pins["licenseID"],
        "queueClass": lane.get("name", spec.queue_class_name),
    }
