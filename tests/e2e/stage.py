"""Many rollouts at once: models in one namespace, their callers, and all that the API server told of them.

Rollouts take seconds each, so scenes run side by side; one watch each of models, routes and pods records what
happened, and a scene waits by reading that record.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from e2e.manifests import Object, model_deployment, queue_class, rollout_policy
from e2e.traffic import Steady, steady
from harness.api import Api, connect
from harness.shell import HarnessError
from pilothouse.kinds import EVENT, HTTP_ROUTE, MODEL_DEPLOYMENT, POD, QUEUE_CLASS, ROLLOUT_POLICY
from pilothouse.names import COMMAND, REVISION, RolloutState, Verb
from pilothouse.names import DEPLOYMENT as MODEL_LABEL

DEADLINE = 300
"""Seconds after which a wait fails; a busy machine is no defect of ours."""

OBJECTIVES = [{"metric": "Success", "ratio": 0.6}]
"""Lax, so that few requests prove that a revision is no worse by 40 points."""


@dataclass
class Story:
    """All that was told of one model, the oldest first; `routed` are weights by revision."""

    statuses: list[Object] = field(default_factory=list)
    routed: list[dict[str, int]] = field(default_factory=list)
    pods: dict[str, Object] = field(default_factory=dict)
    """The pods as they are now, by uid."""

    @property
    def status(self) -> Object:
        """The status as it is now."""
        return self.statuses[-1] if self.statuses else {}

    @property
    def stable(self) -> str:
        """The revision that serves."""
        return str(self.status["stable"]["revision"])

    @property
    def canary(self) -> str:
        """The revision that is tried; empty where none is."""
        return str((self.status.get("canary") or {}).get("revision", ""))

    @property
    def state(self) -> str:
        """Where its rollout stands; empty where none is under way."""
        return state_of(self.status)

    @property
    def states(self) -> list[str]:
        """Where its rollouts stood, one after the other; empty for no rollout."""
        return without_repeats(state_of(status) for status in self.statuses)

    @property
    def weights(self) -> list[int]:
        """The canary's weights as they were put on record, one after the other."""
        return without_repeats(weight_of(status) for status in self.statuses)

    @property
    def held(self) -> list[int]:
        """The canary's weights that were held for their time; on the way, weights follow its ready pods."""
        holding = [status for status in self.statuses if state_of(status) == RolloutState.HOLDING]
        return without_repeats(map(weight_of, holding))

    @property
    def counted(self) -> int:
        """How many of the canary's requests have been judged."""
        checks = (self.status.get("rollout") or {}).get("checks", [])
        return max((check.get("samples", 0) for check in checks), default=0)

    @property
    def rejected(self) -> set[str]:
        """Revisions that are not tried again unasked."""
        return {entry["revision"] for entry in self.status.get("rejectedRevisions", [])}

    def pods_of(self, revision: str) -> list[Object]:
        """Pods of a revision that are there, those on their way out included."""
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"].get(REVISION) == revision]


def state_of(status: Object) -> str:
    """Read the rollout's state; empty where none is under way."""
    return str((status.get("rollout") or {}).get("state", ""))


def weight_of(status: Object) -> int:
    """Read the canary's weight as it was decided."""
    return int(((status.get("canary") or {}).get("weight") or {}).get("desired", 0))


def without_repeats(values: Any) -> list[Any]:
    """Leave out what is as the one before."""
    found: list[Any] = []
    for value in values:
        if not found or found[-1] != value:
            found.append(value)
    return found


class Stage:
    """A namespace with models, a lane and a policy that have its name, and what happened in it."""

    def __init__(self, api: Api, gateway: str) -> None:
        self.api = api
        self.name = f"stage-{uuid4().hex[:8]}"
        self.stories: defaultdict[str, Story] = defaultdict(Story)
        self._gateway = gateway
        self._policies: set[str] = set()
        self._news = asyncio.Condition()

    async def declare(self, name: str, **spec: Any) -> None:
        """Apply a model as people do; `spec` replaces whole fields, and leaves out those that are None."""
        spec = {"rollout": {"policyName": self.name}} | spec
        declared = model_deployment(name, self.name, self.name, **spec)
        declared["spec"] = {key: value for key, value in declared["spec"].items() if value is not None}
        await self.api.apply(MODEL_DEPLOYMENT.path(self.name, name), declared, "people")

    async def served(self, name: str, **spec: Any) -> Story:
        """Apply a model, and wait until it serves as declared."""
        await self.declare(name, **spec)
        return await self.until(name, lambda story: story.status.get("phase") == "Ready")

    async def policy(self, name: str, **spec: Any) -> None:
        """Apply a policy, to be removed in the end."""
        self._policies.add(name)
        await self.api.apply(ROLLOUT_POLICY.path(name=name), rollout_policy(name, **spec), "people")

    async def say(self, name: str, verb: Verb, revision: str, note: str = "") -> None:
        """Annotate a command."""
        text = "/".join(filter(None, (verb, revision, note)))
        await self.api.merge(
            MODEL_DEPLOYMENT.path(self.name, name), {"metadata": {"annotations": {COMMAND: text}}}
        )

    async def until(self, name: str, holds: Callable[[Story], Any], seconds: float = DEADLINE) -> Story:
        """Wait until the model's story makes it hold; raises HarnessError with where it stands."""
        story = self.stories[name]
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: holds(story))
        except TimeoutError:
            raise HarnessError(f"Waited {seconds} s in vain for {name}: {_stand(story)}") from None
        return story

    async def until_any(
        self, names: Sequence[str], holds: Callable[[Story], Any], seconds: float = DEADLINE
    ) -> Story:
        """Wait until one of the stories makes it hold, and return the first that does."""
        stories = [self.stories[name] for name in names]
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: any(map(holds, stories)))
            return next(filter(holds, stories))

    async def remove(self, name: str) -> None:
        """Delete a model, to make room for others."""
        await self.api.delete(MODEL_DEPLOYMENT.path(self.name, name))

    async def at(self, name: str, state: RolloutState, seconds: float = DEADLINE) -> Story:
        """Wait until the model's rollout is in a state."""
        return await self.until(name, lambda story: story.state == state, seconds)

    async def rested(self, name: str, seconds: float = DEADLINE) -> Story:
        """Wait until no rollout is under way and nothing of one is left."""
        return await self.until(name, _rests, seconds)

    async def rolled_back(self, name: str, seconds: float = DEADLINE) -> Story:
        """Wait until a rollout was rolled back."""
        return await self.until(name, lambda story: story.status.get("lastRollback"), seconds)

    async def events(self, name: str) -> list[str]:
        """Reasons of the Events about a model, the oldest first."""
        found = (await self.api.get(EVENT.path(self.name)))["items"]
        ours = [event for event in found if event["regarding"]["name"] == name]
        return [event["reason"] for event in sorted(ours, key=lambda event: event["eventTime"] or "")]

    async def fault(self, name: str, revision: str, **faults: Any) -> None:
        """Break the pods of a revision, or mend them with no faults."""
        async with aiohttp.ClientSession() as http:
            for pod in self.stories[name].pods_of(revision):
                url = f"http://{pod['status']['podIP']}:8000/sim/faults"
                async with http.post(url, json=faults) as answer:
                    answer.raise_for_status()

    @asynccontextmanager
    async def called(self, name: str, rate: float = 12) -> AsyncIterator[Steady]:
        """Keep callers on while the block runs, `rate` requests a second."""
        async with steady(f"{self._gateway}/{self.name}/{name}/v1", rate) as calling:
            yield calling

    async def record(self) -> None:
        """Follow models, routes and pods, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(MODEL_DEPLOYMENT.path(self.name), self._tell_status))
            group.create_task(self._follow(HTTP_ROUTE.path(self.name), self._tell_route))
            group.create_task(self._follow(POD.path(self.name), self._tell_pod))

    async def _follow(self, path: str, tell: Callable[[str, Object], None]) -> None:
        while True:
            async for event in self.api.watch(path, resourceVersion="0"):
                async with self._news:
                    tell(event["type"], event["object"])
                    self._news.notify_all()
                # Whoever waits reads this event before the next: several may have come at once.
                await asyncio.sleep(0)

    def _tell_status(self, _: str, model: Object) -> None:
        story = self.stories[model["metadata"]["name"]]
        story.statuses.append(model.get("status", {}) | {"generation": model["metadata"]["generation"]})

    def _tell_route(self, kind: str, route: Object) -> None:
        backends = [] if kind == "DELETED" else route["spec"]["rules"][0]["backendRefs"]
        weights = {entry["name"].rpartition("-")[2]: entry["weight"] for entry in backends}
        story = self.stories[route["metadata"]["name"]]
        if not story.routed or story.routed[-1] != weights:
            story.routed.append(weights)

    def _tell_pod(self, kind: str, pod: Object) -> None:
        story = self.stories[pod["metadata"]["labels"].get(MODEL_LABEL, "")]
        story.pods[pod["metadata"]["uid"]] = pod
        if kind == "DELETED":
            del story.pods[pod["metadata"]["uid"]]

    async def make(self, policy: Object, lane: Object) -> None:
        """Make the namespace, the lane and the policy."""
        await self.api.create("/api/v1/namespaces", {"metadata": {"name": self.name}})
        await self.api.apply(QUEUE_CLASS.path(name=self.name), queue_class(self.name, **lane), "people")
        await self.policy(self.name, **policy)

    async def clear(self) -> None:
        """Begin to delete all that was made."""
        policies = [ROLLOUT_POLICY.path(name=name) for name in self._policies]
        for path in (f"/api/v1/namespaces/{self.name}", QUEUE_CLASS.path(name=self.name), *policies):
            await self.api.delete(path)


@asynccontextmanager
async def stage(kubeconfig: Path, gateway: str, policy: Object, lane: Object) -> AsyncIterator[Stage]:
    """Make a stage for as long as the block runs; `policy` and `lane` are fields of their specs."""
    async with connect(kubeconfig) as api:
        made = Stage(api, gateway)
        await made.make(policy, lane)
        try:
            # A record that breaks off ends the block: who waited for it would wait in vain.
            async with asyncio.TaskGroup() as group:
                recording = group.create_task(made.record())
                yield made
                recording.cancel()
        finally:
            await made.clear()


def _rests(story: Story) -> bool:
    """Tell whether the last word is about the spec as it is, and no rollout is left."""
    status = story.status
    told = status.get("observedGeneration") == status.get("generation")
    only = {pod["metadata"]["labels"].get(REVISION) for pod in story.pods.values()}
    return told and not status.get("rollout") and not status.get("canary") and only == {story.stable}


def _stand(story: Story) -> str:
    """Say where a model stands, and how it got there."""
    rollout = story.status.get("rollout") or {}
    said = {key: rollout.get(key) for key in ("state", "reason", "message")}
    rollback = story.status.get("lastRollback")
    return (
        f"{story.status.get('phase')}, {said}; states {story.states}, weights {story.weights};"
        f" last rollback {rollback}"
    )
