"""A stand-in for `cli.cluster.Cluster`: objects by key, answers of pods by name and path."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilothouse.act.rest import Answer
from pilothouse.errors import NotFound, PilothouseError, Retryable
from pilothouse.kinds import WATCHED, Kind
from pilothouse.plan.observed import Object, ObjectKey, key_of


def answer(body: Object, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    """Build what a pod says."""
    return Answer(status, dict(headers or {}), json.dumps(body).encode())


@dataclass
class FakeCluster:
    """Answers from what it was given; a pod without an answer can't be reached."""

    objects: dict[ObjectKey, Object] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    refusals: dict[str, PilothouseError] = field(default_factory=dict)
    """By kind, what reading it raises."""
    annotations: list[tuple[ObjectKey, str, str]] = field(default_factory=list)
    lacks: set[str] = field(default_factory=set)
    """Kinds, in plural, that the cluster does not have."""

    def put(self, *objects: Object) -> "FakeCluster":
        """Store objects."""
        self.objects |= {key_of(obj): obj for obj in objects}
        return self

    async def get(self, key: ObjectKey) -> Object:
        """Read one object."""
        if key.kind in self.refusals:
            raise self.refusals[key.kind]
        if key not in self.objects:
            raise NotFound(f'{key.kind} "{key.name}" not found')
        return self.objects[key]

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        """List a kind, by labels."""
        if kind.name in self.refusals:
            raise self.refusals[kind.name]
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        return [
            obj
            for key, obj in self.objects.items()
            if key.kind == kind.name
            and namespace in ("", key.namespace)
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
        ]

    async def names(self, kind: Kind, namespace: str) -> frozenset[str]:
        """Name the objects of a kind."""
        if kind.name in self.refusals:
            raise self.refusals[kind.name]
        return frozenset(obj["metadata"]["name"] for obj in await self.list(kind, namespace))

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Name the resources of an API version: all that Pilothouse knows, but for those it lacks."""
        known = {kind.plural for kind in WATCHED if (kind.group, kind.version) == (group, version)}
        return frozenset(known - self.lacks)

    async def annotate(self, key: ObjectKey, name: str, value: str) -> None:
        """Note the annotation."""
        self.annotations.append((key, name, value))

    async def ask(self, pod: ObjectKey, path: str) -> Answer:
        """Answer for a pod."""
        found: Any = self.answers.get((pod.name, path))
        if found is None:
            raise Retryable(f"error trying to reach service: {pod.name}: connection refused")
        return found
