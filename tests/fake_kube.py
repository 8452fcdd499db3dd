"""A stand-in for `act.kube.Kube` in unit tests: objects in a dict, and a log of what was asked.

It knows versions and conflicts of versions, nothing else of Kubernetes: whether our requests do what we think
is tested on a real API server.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable

from pilothouse.act.kube import Page
from pilothouse.errors import Conflict, NotFound
from pilothouse.kinds import Kind
from pilothouse.plan.observed import Object, ObjectKey, key_of

Hook = Callable[[str, ObjectKey], None]


class FakeKube:
    """Answers from `objects`; `before` may raise, `hang` makes every request wait for ever."""

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.resources: dict[tuple[str, str], frozenset[str]] = {}
        self.requests: list[tuple[str, ObjectKey]] = []
        self.bodies: list[Object] = []
        self.before: Hook = lambda _, __: None
        self.hang = False
        self.version = 100
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> Object:
        """Store an object at a new version."""
        self.version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self.version)
        stored["metadata"].setdefault("uid", f"uid-{self.version}")
        self.objects[key_of(obj)] = stored
        return copy.deepcopy(stored)

    def remove(self, key: ObjectKey) -> None:
        """Drop an object; the cluster moves on by a version."""
        del self.objects[key]
        self.version += 1

    async def get(self, key: ObjectKey) -> Object:
        """Read one object."""
        await self._ask("get", key)
        if key not in self.objects:
            raise NotFound(f"{key.name} not found")
        return copy.deepcopy(self.objects[key])

    async def pages(
        self, kind: Kind, *, namespace: str = "", selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """List a kind in one part."""
        del selector, metadata_only
        await self._ask("list", ObjectKey(kind.name, namespace, ""))
        yield Page([obj for key, obj in self.objects.items() if key.kind == kind.name], self.version)

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Name the resources of an API version."""
        await self._ask("served", ObjectKey("APIResourceList", "", group))
        return self.resources.get((group, version), frozenset())

    async def apply(self, obj: Object, *, force: bool) -> Object:
        """Replace an object."""
        await self._ask("force" if force else "apply", key_of(obj), obj)
        known = self.objects.get(key_of(obj), {"metadata": {}})
        return self.put({**known, **obj, "metadata": {**known["metadata"], **obj["metadata"]}})

    async def patch_status(self, key: ObjectKey, patch: Object) -> Object:
        """Merge the first level of the status; a version that is named must be the current one."""
        await self._ask("patch_status", key, patch)
        known = self.objects[key]
        version = known["metadata"]["resourceVersion"]
        if patch["metadata"].get("resourceVersion", version) != version:
            raise Conflict("modified")
        merged = {**known.get("status", {}), **patch["status"]}
        return self.put(
            {**known, "status": {name: value for name, value in merged.items() if value is not None}}
        )

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Remove an object."""
        await self._ask("delete", key)
        if key not in self.objects:
            raise NotFound(f"{key.name} not found")
        if self.objects[key]["metadata"]["uid"] != uid:
            raise Conflict("another uid")
        self.remove(key)

    async def create(self, obj: Object) -> Object:
        """Add an object."""
        await self._ask("create", key_of(obj), obj)
        if key_of(obj) in self.objects:
            raise Conflict("already exists")
        return self.put(obj)

    async def update(self, obj: Object) -> Object:
        """Replace an object at its version."""
        await self._ask("update", key_of(obj), obj)
        if self.objects[key_of(obj)]["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise Conflict("modified")
        return self.put(obj)

    async def _ask(self, verb: str, key: ObjectKey, body: Object | None = None) -> None:
        self.requests.append((verb, key))
        if body is not None:
            self.bodies.append(body)
        if self.hang:
            await asyncio.Event().wait()
        self.before(verb, key)
        await asyncio.sleep(0)
