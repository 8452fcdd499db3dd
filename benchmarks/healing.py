"""How long a child of a model stays lost: one of each kind is deleted, or loses its label, again and again.

`make bench-healing` writes results/healing.md. The time runs from the API server's answer until the object is
there again, or is as before; it is asked for every few milliseconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet import at_rest, seconds
from measure import percentile, publish, surroundings, table

from children import OF_A_MODEL
from harness import cluster
from harness.api import Api, Object, connect
from pilothouse.kinds import Kind
from pilothouse.names import MANAGED_BY

ROUNDS = 30
LIMIT_SECONDS = 60
LOOK_SECONDS = 0.005
WITHOUT_OUR_LABEL = {"metadata": {"labels": {MANAGED_BY: None}}}


@dataclass(frozen=True)
class Child:
    """A child of the model, as it is where nobody touches it."""

    api: Api
    kind: Kind
    before: Object

    @property
    def collection(self) -> str:
        """Path of all of its kind."""
        return self.kind.path(self.before["metadata"]["namespace"])

    @property
    def path(self) -> str:
        """Path of the child."""
        return f"{self.collection}/{self.before['metadata']['name']}"

    async def vanish(self) -> Callable[[Object], bool]:
        """Delete it, and return what tells another in its place."""
        uid = (await self.found())["metadata"]["uid"]
        await self.api.delete(self.path)
        return lambda found: found.get("metadata", {}).get("uid", uid) != uid

    async def lose_label(self) -> Callable[[Object], bool]:
        """Take off the label by which the operator finds it, and return what tells that it is as before."""
        await self.api.merge(self.path, WITHOUT_OUR_LABEL)
        labels = self.before["metadata"]["labels"]
        return lambda found: found.get("metadata", {}).get("labels") == labels

    async def found(self) -> Object:
        """Return the child as it is, empty where it is not there."""
        name = self.before["metadata"]["name"]
        items: list[Object] = (await self.api.get(self.collection, fieldSelector=f"metadata.name={name}"))[
            "items"
        ]
        return items[0] if items else {}

    async def healed(self, is_well: Callable[[Object], bool]) -> None:
        """Wait until it is well; raises TimeoutError."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not is_well(await self.found()):  # noqa: ASYNC110 -- the API server sets no event
                await asyncio.sleep(LOOK_SECONDS)


async def main() -> None:
    """Measure and write the table."""
    kubeconfig = cluster.kubeconfig()
    async with connect(kubeconfig) as api:
        about = await surroundings(api)
        async with at_rest(api, kubeconfig, "bench-healing", 1) as (where, _):
            rows = [row for kind in OF_A_MODEL for row in await measured(api, kind, where)]
    publish("healing.md", report(about, rows))


async def measured(api: Api, kind: Kind, where: str) -> list[tuple[str, ...]]:
    """Return the rows of one kind."""
    items = (await api.get(kind.path(where)))["items"]
    one = next(item for item in items if MANAGED_BY in item["metadata"].get("labels", {}))
    child = Child(api, kind, one)
    return [
        (kind.name, "deleted", *numbers(await times(child, child.vanish))),
        (kind.name, "label taken off", *numbers(await times(child, child.lose_label))),
    ]


async def times(child: Child, harm: Callable[[], Awaitable[Callable[[Object], bool]]]) -> list[float]:
    """Harm the child and time its mending, over and over."""
    return [await seconds(child.healed(await harm())) for _ in range(ROUNDS)]


def numbers(found: list[float]) -> tuple[str, ...]:
    """Return median, 95th percentile and the longest of some times."""
    return tuple(f"{percentile(found, share):.2f} s" for share in (50, 95, 100))


def report(about: str, rows: list[tuple[str, ...]]) -> str:
    """Return the result as it is published."""
    head = ("child", "what was done", "p50", "p95", "longest")
    return (
        f"# Healing\n\nOne model, each child harmed {ROUNDS} times; promised are 2 s.\n\n{about}\n"
        + table(head, rows)
    )


if __name__ == "__main__":
    asyncio.run(main())
