"""All that is asked of a Prometheus for one rollout when a sample is due."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pilothouse.api.rolloutpolicy import Analysis, SampleSource
from pilothouse.api.rolloutpolicy import Prometheus as Server
from pilothouse.errors import Unreadable
from pilothouse.observe import promchecks, promseries
from pilothouse.observe.inflight import InFlight
from pilothouse.observe.measured import Measured
from pilothouse.observe.promql import PromQL
from pilothouse.plan.observed import Object, ObjectKey

_NOT_YET: Final = Measured(unread={"": "Prometheus has not answered yet"})


@dataclass(frozen=True, slots=True)
class Question:
    """The pods to read and the revisions whose checks have queries of their own."""

    deployment: ObjectKey
    analysis: Analysis
    pods: Sequence[Object]
    revisions: tuple[str, ...]


class Prometheus:
    """Asks; who would have to wait longer than `patience` seconds gets the answer the next time."""

    def __init__(self, promql: PromQL, now: Callable[[], datetime], patience: float) -> None:
        self._promql = promql
        self._now = now
        self._patience = patience
        self._in_flight: InFlight[tuple[ObjectKey, tuple[str, ...]], Measured] = InFlight()

    async def __call__(self, question: Question, server: Server) -> Measured:
        """Return the readings of pods, where Prometheus is their source, and of checks with own queries."""
        key = (question.deployment, question.revisions)
        answer = await self._in_flight.ask(key, lambda: self._answer(question, server), self._patience)
        return answer or _NOT_YET

    async def _answer(self, question: Question, server: Server) -> Measured:
        checks = {check.name: check.prometheus for check in question.analysis.checks if check.prometheus}
        parts = await asyncio.gather(
            self._pods(question, server),
            *(
                promchecks.measure(self._promql, server, checks, each, self._now())
                for each in question.revisions
            ),
        )
        readings = tuple(reading for part in parts for reading in part.readings)
        pods = {pod: why for part in parts for pod, why in part.unread.items() if pod}
        errors = [part.unread[""] for part in parts if "" in part.unread]
        return Measured(readings, pods | ({"": "; ".join(errors)} if errors else {}))

    async def _pods(self, question: Question, server: Server) -> Measured:
        if question.analysis.source is not SampleSource.PROMETHEUS or not question.pods:
            return Measured()
        try:
            samples = await self._promql.vector(
                server, promseries.selector(question.deployment, question.pods)
            )
            return promseries.readings_of(question.pods, self._now(), samples)
        except Unreadable as error:
            return Measured(unread={"": f"Prometheus: {error}"})
