"""EvaluationSuite: a Job that scores a revision per language, and the scores that it must reach."""

from typing import Annotated

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec
from pilothouse.api.rules import Rule
from pilothouse.api.values import Duration, Image, PositiveDuration, Quantity


class JobResources(Spec):
    """What the Job's pod gets; requests and limits alike."""

    cpu: Quantity = "1"
    """CPU cores of the pod. Example: 2, 500m."""
    memory: Quantity = "1Gi"
    """Memory of the pod. Example: 4Gi."""


class EvaluationSuiteSpec(Spec):
    """How a revision is scored, and what it must reach."""

    image: Image
    """The image of the Job. It finds the canary by PILOTHOUSE_BASE_URL and PILOTHOUSE_MODEL."""
    command: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)] = ()
    """The command to run in place of the image's own."""
    resources: JobResources = JobResources()
    """What the Job's pod gets; requests and limits alike."""
    deadline: PositiveDuration = Duration("20m")
    """How long the Job may take. Example: 20m."""
    floors: Annotated[
        dict[str, Annotated[float, Field(ge=0, le=1)]],
        Field(min_length=1, max_length=64),
        Rule("self.all(k, k.matches(r'^[a-z0-9+#._-]{1,32}$'))", "must have names of languages as keys"),
    ]
    """The least pass rate per language, 0 to 1. Example: {python: 0.60, go: 0.45}."""
    max_regression: Annotated[float, Field(ge=0, le=1)] = 0.03
    """By how much the pass rate may be below stable's on the same tasks, 0 to 1."""


class EvaluationSuite(Resource):
    """A Job that scores a revision per language, and the scores that it must reach."""

    spec: EvaluationSuiteSpec
    """How a revision is scored, and what it must reach."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""
