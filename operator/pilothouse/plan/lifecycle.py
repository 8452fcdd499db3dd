"""How long an engine pod may take to start and to stop, computed and never typed.

Stopping: the pod leaves the endpoints at once, `preStop` keeps it serving until every gateway has heard of
that, then vLLM finishes what it generates (`--shutdown-timeout`), then the kubelet kills it. vLLM goes on
answering /health while it drains and refuses new requests, so the order matters.
"""

import math
from dataclasses import dataclass
from typing import Final, Self

from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.names import ENGINE_PORT_NAME
from pilothouse.plan.observed import Object

PRE_STOP_SECONDS: Final = 15
_TEAR_DOWN_SECONDS: Final = 5
_STARTUP_PERIOD_SECONDS: Final = 2
_PULL_SECONDS: Final = 600

_HEALTH: Final = {"httpGet": {"path": "/health", "port": ENGINE_PORT_NAME}}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The seconds that one revision's pods are given; frozen with the revision."""

    startup: int
    drain: int

    @property
    def grace_period(self) -> int:
        """The pod's terminationGracePeriodSeconds: it bounds an engine that hangs while draining."""
        return PRE_STOP_SECONDS + self.drain + _TEAR_DOWN_SECONDS

    @property
    def progress_deadline(self) -> int:
        """The Deployment's progressDeadlineSeconds: the startup budget, and time to pull the image."""
        return self.startup + _PULL_SECONDS

    @classmethod
    def of_deployment(cls, grace_period: int, progress_deadline: int) -> Self:
        """Read the seconds back from a Deployment that was made with them."""
        return cls(progress_deadline - _PULL_SECONDS, grace_period - PRE_STOP_SECONDS - _TEAR_DOWN_SECONDS)

    def container_fields(self) -> Object:
        """Probes and preStop hook of the engine container."""
        return {
            "startupProbe": {
                **_HEALTH,
                "periodSeconds": _STARTUP_PERIOD_SECONDS,
                "timeoutSeconds": 2,
                "failureThreshold": math.ceil(self.startup / _STARTUP_PERIOD_SECONDS),
            },
            "readinessProbe": {**_HEALTH, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
            "livenessProbe": {**_HEALTH, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 10},
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        }


def lifecycle_of(queue_class: QueueClass, policy: RolloutPolicySpec) -> Lifecycle:
    """Seconds that this lane and this policy give to the pods of a new revision."""
    return Lifecycle(startup=math.ceil(policy.startup_deadline.seconds), drain=drain_seconds(queue_class))


def drain_seconds(queue_class: QueueClass) -> int:
    """How long the engine may finish what it generates, in whole seconds."""
    return math.ceil(queue_class.spec.drain.seconds)
