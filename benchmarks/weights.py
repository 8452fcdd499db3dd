"""What an HTTPRoute says, from the moment at which the API server says it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fleet import until

from harness.api import Api, Object

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"


@dataclass(frozen=True)
class Change:
    """Weights by Service, in percent, and since when (seconds since 1970)."""

    at: float
    weights: Mapping[str, int]


class Weights:
    """The changes of one route's weights, oldest first."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self.changes: list[Change] = []
        self._api = api
        self._path = ROUTES.format(namespace)
        self._name = name

    @property
    def now(self) -> Mapping[str, int]:
        """The weights that hold."""
        return self.changes[-1].weights if self.changes else {}

    async def follow(self) -> None:
        """Note every change until cancelled."""
        only = f"metadata.name={self._name}"
        listed = await self._api.get(self._path, fieldSelector=only)
        for route in listed["items"]:
            self._note(route)
        since = listed["metadata"]["resourceVersion"]
        async for event in self._api.watch(self._path, fieldSelector=only, resourceVersion=since):
            self._note(event["object"])

    def _note(self, route: Object) -> None:
        weights = _weights(route)
        if weights != self.now:
            self.changes.append(Change(time.time(), weights))

    async def first(self, since: float, holds: Callable[[Mapping[str, int]], bool], seconds: float) -> Change:
        """Wait for the first change since a moment whose weights are as wanted.

        Raises:
            TimeoutError: there was none within `seconds`.

        """

        def found() -> Change | None:
            return next((c for c in self.changes if c.at >= since and holds(c.weights)), None)

        async def is_there() -> bool:
            return found() is not None

        await until(is_there, seconds)
        change = found()
        assert change
        return change


@asynccontextmanager
async def weights_of(api: Api, namespace: str, name: str) -> AsyncIterator[Weights]:
    """Follow a route's weights while the block runs."""
    weights = Weights(api, namespace, name)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(weights.follow())
        try:
            yield weights
        finally:
            following.cancel()


def _weights(route: Object) -> Mapping[str, int]:
    """Return the weights above 0: one left out and one of 0 mean the same."""
    backends = route["spec"]["rules"][0].get("backendRefs", ())
    return {backend["name"]: backend.get("weight", 1) for backend in backends if backend.get("weight", 1)}
