"""Asks pods that fetch their artifacts how far they have come."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from pilothouse.api.modeldeploymentstatus import FetchStatus
from pilothouse.errors import Unreadable
from pilothouse.names import ENGINE_PORT, GuardPath
from pilothouse.observe.http import Request, read
from pilothouse.observe.vllm import base_url
from pilothouse.plan.fetched import is_fetching
from pilothouse.plan.observed import Object

_MOST: Final = 10
"""So many pods are asked: they fetch the same, and often one for all."""
_LIMIT: Final = 4096


class _Progress(BaseModel):
    """What a fetch answers; sizes in bytes."""

    model_config = ConfigDict(alias_generator=to_camel)

    phase: str
    bytes: int
    total_bytes: int
    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Fetches:
    """Asks the fetches of a ModelDeployment's pods."""

    session: aiohttp.ClientSession
    seconds: float
    port: int = ENGINE_PORT

    async def __call__(self, pods: Sequence[Object]) -> FetchStatus | None:
        """Return the progress of the pod that has the most still to do; None where none runs or answers."""
        running = [pod for pod in pods if is_fetching(pod) and pod["status"].get("podIP")]
        answers = await asyncio.gather(*(self._ask(pod) for pod in running[:_MOST]))
        known = [answer for answer in answers if answer]
        return max(known, key=lambda answer: answer.total_bytes - answer.bytes, default=None)

    async def _ask(self, pod: Object) -> FetchStatus | None:
        """Ask one; a fetch that does not answer begins or ends, and its pod's status tells more."""
        request = Request(f"{base_url(pod, self.port)}{GuardPath.FETCH}", self.seconds, _LIMIT)
        try:
            _, body = await read(self.session, request)
            progress = _Progress.model_validate_json(body)
        except (Unreadable, ValidationError):
            return None
        return FetchStatus.model_validate(
            {"pod": pod["metadata"]["name"], **progress.model_dump(by_alias=True)}
        )
