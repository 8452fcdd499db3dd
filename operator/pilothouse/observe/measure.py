"""Reads all that a rollout is judged by, from wherever its policy says.

Also with Prometheus as the source the canary's engines are read directly between two samples and when it does
not answer: whether an engine fails must not depend on it. The two sources never mix within a sample, because
Prometheus lags, and counters that went back would look like a restart.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.rolloutpolicy import BUILT_IN, Analysis, RolloutPolicySpec, SampleSource
from pilothouse.kinds import MODEL_DEPLOYMENT
from pilothouse.observe.measured import Measured
from pilothouse.observe.prometheus import Prometheus, Question
from pilothouse.observe.targets import sampled, watched
from pilothouse.observe.vllm import Engines
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.sampling import is_due


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures one rollout that is under way."""

    engines: Engines
    prometheus: Prometheus

    async def __call__(
        self,
        deployment: ModelDeployment,
        policy: RolloutPolicySpec | None,
        pods: Sequence[Object],
        now: datetime,
    ) -> Measured:
        """Read the pods of both sides where a sample is due at this time, else the canary's."""
        analysis = (policy or BUILT_IN).analysis
        if not _sample_is_due(deployment, analysis, now):
            return await self.engines(watched(deployment, pods))
        if analysis.source is SampleSource.SCRAPE:
            scraped, asked = await asyncio.gather(
                self.engines(sampled(deployment, pods)), self._ask(deployment, analysis, pods)
            )
            return scraped | asked
        scraped, asked = await asyncio.gather(
            self.engines(watched(deployment, pods)), self._ask(deployment, analysis, pods)
        )
        answered = any(reading.pod for reading in asked.readings)
        return asked if answered else scraped | asked

    async def _ask(self, deployment: ModelDeployment, analysis: Analysis, pods: Sequence[Object]) -> Measured:
        if analysis.prometheus is None:
            return Measured()
        metadata, status = deployment.metadata, deployment.status
        question = Question(
            deployment=ObjectKey(MODEL_DEPLOYMENT.name, metadata.namespace, metadata.name),
            analysis=analysis,
            pods=sampled(deployment, pods),
            revisions=tuple(side.revision for side in (status.canary, status.stable) if side),
        )
        return await self.prometheus(question, analysis.prometheus)


def _sample_is_due(deployment: ModelDeployment, analysis: Analysis, now: datetime) -> bool:
    rollout = deployment.status.rollout
    return is_due(rollout.sampling if rollout else None, timedelta(seconds=analysis.interval.seconds), now)
