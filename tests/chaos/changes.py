"""What people do to many models in a while, drawn by lot: the same seed gives the same changes.

Each change is whole, so the last one of a model tells how it ends, whatever the operator saw of those before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from e2e.manifests import COMMIT, OTHER_COMMIT, Object, model, model_deployment, route
from harness.api import Api
from pilothouse.kinds import DEPLOYMENT, HTTP_ROUTE, MODEL_DEPLOYMENT, POD_DISRUPTION_BUDGET, SERVICE

COMMITS = (COMMIT, OTHER_COMMIT)
VANDALISED = (DEPLOYMENT, SERVICE, POD_DISRUPTION_BUDGET, HTTP_ROUTE)
WITH_PODS = 3
PAUSE_SECONDS = 0.15
"""Between two changes, so that kills fall between them, too."""


@dataclass(frozen=True)
class Declared:
    """How one model is declared at the moment."""

    name: str
    lane: str
    commit: str = COMMIT
    path: str = "a"
    replicas: int = 0

    def manifest(self, namespace: str) -> Object:
        """The ModelDeployment to apply."""
        way = route(self.name, namespace)
        way["pathPrefix"] += f"/{self.path}"
        return model_deployment(
            self.name,
            namespace,
            self.lane,
            model=model(self.commit),
            replicas=self.replicas,
            route=way,
            rollout={"policyName": self.lane},
        )


class Changes:
    """A sequence of changes to `count` models, and how they end."""

    def __init__(self, seed: int, count: int, lanes: Sequence[str], each: int = 8) -> None:
        self._random = Random(seed)  # noqa: S311 -- a lot, not a secret
        self._lanes = lanes
        names = [f"model-{number}" for number in range(count)]
        self._pods = set(names[:WITH_PODS])
        self._steps = [*names, *self._random.choices(names, k=count * (each - 1))]
        self._state = self._random.getstate()

    async def make(self, api: Api, namespace: str) -> set[str]:
        """Make every change, and return the names of the models that are left in the end."""
        self._random.setstate(self._state)
        declared: dict[str, Declared] = {}
        for name in self._steps:
            await self._change(api, namespace, name, declared)
            await asyncio.sleep(PAUSE_SECONDS)
        return set(declared)

    async def _change(self, api: Api, namespace: str, name: str, declared: dict[str, Declared]) -> None:
        lot = self._random.random()
        before = declared.get(name)
        if before and lot < 0.1:
            del declared[name]
            await api.delete(MODEL_DEPLOYMENT.path(namespace, name))
        elif before and lot < 0.25:
            kind = self._random.choice(VANDALISED)
            await api.delete(f"{kind.path(namespace)}?labelSelector=pilothouse.dev/deployment={name}")
        else:
            declared[name] = self._edited(before or Declared(name, self._lanes[0]))
            await api.apply(
                MODEL_DEPLOYMENT.path(namespace, name), declared[name].manifest(namespace), "people"
            )

    def _edited(self, before: Declared) -> Declared:
        pods = self._random.choice((0, 1)) if before.name in self._pods else 0
        edits = (
            replace(before, commit=self._random.choice(COMMITS)),
            replace(before, lane=self._random.choice(self._lanes)),
            replace(before, path=self._random.choice("ab")),
            replace(before, replicas=pods),
        )
        return self._random.choice(edits)
