"""What Pilothouse needs of Kubernetes: a few verbs on objects as JSON.

Reads of watched kinds come from the Store, so these are mostly writes. Every method raises
`errors.Retryable`, `errors.Conflict` or `errors.Terminal`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from pilothouse.kinds import Kind
from pilothouse.plan.observed import Object, ObjectKey


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `resource_version` is that of the whole list and the same in each part."""

    items: list[Object]
    resource_version: int


class Kube(Protocol):
    """The verbs."""

    async def get(self, key: ObjectKey) -> Object:
        """Read one object."""

    def pages(
        self, kind: Kind, *, namespace: str = "", selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """List the objects of a kind, in parts of one consistent list; an empty namespace stands for all."""

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Name (in plural) the resources of an API version; empty where the API server lacks it."""

    async def apply(self, obj: Object, *, force: bool) -> Object:
        """Apply a full object server-side; without `force`, a field that someone else set is a Conflict."""

    async def patch_status(self, key: ObjectKey, patch: Object) -> Object:
        """Merge-patch the status subresource; `patch` is the whole body."""

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete the object of this uid; another object of the same name is a Conflict."""

    async def create(self, obj: Object) -> Object:
        """Create an object; one that is there already is a Conflict."""

    async def update(self, obj: Object) -> Object:
        """Replace an object at its `resourceVersion`; a newer one is a Conflict."""
