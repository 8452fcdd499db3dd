"""The cluster as the command line sees it: objects, annotations, and pods by the API server's proxy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pilothouse.act.credentials import Credentials
from pilothouse.act.rest import Answer, Rest, connect
from pilothouse.kinds import Kind
from pilothouse.names import ENGINE_PORT
from pilothouse.plan.observed import Object, ObjectKey


@asynccontextmanager
async def reach(context: str | None) -> AsyncIterator["Cluster"]:
    """Connect to the cluster of a context, by default the current one; raises ConfigException."""
    async with connect(await Credentials.load(context)) as rest:
        yield Cluster(rest)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Each method raises `errors.Retryable` or `errors.Terminal`."""

    rest: Rest

    async def get(self, key: ObjectKey) -> Object:
        """Read one object."""
        return await self.rest.get(key)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        """List the objects of a kind; an empty namespace stands for all."""
        pages = self.rest.pages(kind, namespace=namespace, selector=selector)
        return [obj async for page in pages for obj in page.items]

    async def names(self, kind: Kind, namespace: str) -> frozenset[str]:
        """Name the objects of a kind in a namespace; what is in them is not read."""
        pages = self.rest.pages(kind, namespace=namespace, metadata_only=True)
        return frozenset([obj["metadata"]["name"] async for page in pages for obj in page.items])

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Name (in plural) the resources of an API version; empty where the cluster lacks it."""
        return await self.rest.served(group, version)

    async def annotate(self, key: ObjectKey, name: str, value: str) -> None:
        """Set one annotation."""
        await self.rest.annotate(key, {name: value})

    async def ask(self, pod: ObjectKey, path: str) -> Answer:
        """GET a path of an engine's pod."""
        return await self.rest.ask_pod(pod, ENGINE_PORT, path)
