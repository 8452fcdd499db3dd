"""What the guards of a stage's pods log of generations, from the first pod to the last."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from e2e.manifests import Object
from e2e.stage import Stage
from harness.logs import generations
from pilothouse.kinds import POD
from pilothouse.names import ENGINE_CONTAINER, REVISION


@dataclass(frozen=True)
class Logged:
    """One line, and the pod in whose log it stands."""

    pod: Object
    line: Object

    @property
    def revision(self) -> str:
        """The revision that the pod runs."""
        return str(self.pod["metadata"]["labels"][REVISION])

    def argument(self, flag: str) -> str:
        """What the pod's engine was started with."""
        [engine] = [each for each in self.pod["spec"]["containers"] if each["name"] == ENGINE_CONTAINER]
        [value] = [arg.partition("=")[2] for arg in engine["args"] if arg.startswith(f"{flag}=")]
        return str(value)


class Lines:
    """The lines so far, by the first segment of the packing trace, which names the request."""

    def __init__(self) -> None:
        self.of: defaultdict[str, list[Logged]] = defaultdict(list)
        self._news = asyncio.Condition()

    async def add(self, pod: Object, line: Object) -> None:
        """Take a line in."""
        async with self._news:
            self.of[line["packing"]["segments"][0][0]].append(Logged(pod, line))
            self._news.notify_all()

    async def until(self, many: int, seconds: float) -> None:
        """Wait until so many requests have a line; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.of) >= many)


@asynccontextmanager
async def followed(stage: Stage) -> AsyncIterator[Lines]:
    """Follow the log of every engine that starts while the block runs, to its end."""
    lines = Lines()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow_all(stage, lines))
        yield lines
        following.cancel()


async def _follow_all(stage: Stage, lines: Lines) -> None:
    known: set[str] = set()
    async with asyncio.TaskGroup() as logs:
        async for event in stage.api.watch(POD.path(stage.name), resourceVersion="0"):
            pod = event["object"]
            if _has_begun(pod) and pod["metadata"]["uid"] not in known:
                known.add(pod["metadata"]["uid"])
                logs.create_task(_follow(stage, pod, lines))


def _has_begun(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses", [])
    return any("running" in each["state"] for each in statuses if each["name"] == ENGINE_CONTAINER)


async def _follow(stage: Stage, pod: Object, lines: Lines) -> None:
    path = f"{POD.path(stage.name, pod['metadata']['name'])}/log"
    async for raw in stage.api.lines(path, container=ENGINE_CONTAINER, follow="true"):
        for line in generations(raw.decode()):
            # Those of the operator's preflight have none.
            if "packing" in line:
                await lines.add(pod, line)
