"""What an application team does in its namespace, and what it sees there."""

import json
from dataclasses import dataclass
from typing import Any

from builders import manifest
from children import OF_A_MODEL
from harness.shell import HarnessError, wait_for
from integration.loop.control_plane import ControlPlane
from pilothouse import names
from pilothouse.kinds import HTTP_ROUTE, Kind

Object = dict[str, Any]

HEAL_SECONDS = 30
"""Far less than until a resync would find it, and nothing else looks at a model that rests."""


@dataclass
class Team:
    """A namespace of the control plane."""

    plane: ControlPlane
    namespace: str

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.plane.kubectl("--namespace", self.namespace, *argv, stdin=stdin)

    def create_namespace(self) -> None:
        """Begin."""
        self.plane.kubectl("create", "namespace", self.namespace)

    def delete_all(self) -> None:
        """End; children go with their owners."""
        self.kubectl("delete", "md", "--all", "--cascade=background", "--wait=false")
        self.plane.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def declare(self, name: str = "qwen-coder", **spec: Any) -> None:
        """Apply a ModelDeployment without pods, unless `replicas` says otherwise."""
        route = {"pathPrefix": f"/{self.namespace}/{name}"}
        obj = manifest({"replicas": 0, "route": route, **spec})
        obj["metadata"] = {"name": name, "namespace": self.namespace}
        self.apply(obj)

    def apply(self, obj: Object) -> None:
        """Apply any object as a user does."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(obj))

    def get(self, kind: str, name: str) -> Object:
        """Read one object."""
        obj: Object = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return obj

    def children(self, name: str = "qwen-coder") -> dict[tuple[str, str], Object]:
        """Return the live children by kind and name."""
        kinds = ",".join(self._served())
        selector = f"--selector={names.MANAGED_BY}={names.MANAGED_BY_VALUE},{names.DEPLOYMENT}={name}"
        items = json.loads(self.kubectl("get", kinds, selector, "--output=json"))["items"]
        return {(item["kind"], item["metadata"]["name"]): item for item in items}

    def pods(self) -> list[Object]:
        """Return the pods of the namespace."""
        items: list[Object] = json.loads(self.kubectl("get", "pods", "--output=json"))["items"]
        return items

    def make_ready(self) -> None:
        """Say of every pod what a kubelet would: there is none here."""
        conditions = [{"type": kind, "status": "True"} for kind in ("ContainersReady", "Ready")]
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}
        patch = json.dumps({"status": status})
        for pod in self.pods():
            name = pod["metadata"]["name"]
            self.kubectl("patch", "pod", name, "--subresource=status", f"--patch={patch}")

    def child(self, kind: str, name: str = "qwen-coder") -> str:
        """Name the first child of a kind."""
        return next(found for of_kind, found in sorted(self.children(name)) if of_kind == kind)

    def condition(self, kind: str, name: str = "qwen-coder") -> tuple[str, str]:
        """Return status and reason of a condition of this generation; empty where it is not told yet."""
        told = self._told(kind, name)
        return told.get("status", ""), told.get("reason", "")

    def message(self, kind: str, name: str = "qwen-coder") -> str:
        """Return what a condition of this generation says to people."""
        return str(self._told(kind, name).get("message", ""))

    def wait_for_children(self, *names: str, seconds: float = 30, missing: tuple[str, ...] = ()) -> None:
        """Wait until ModelDeployments have a child of every kind, but for the missing ones."""
        wanted = {kind.name for kind in OF_A_MODEL} - {*missing}
        for name in names or ("qwen-coder",):
            wait_for(
                f"the children of {name}",
                lambda name=name: {kind for kind, _ in self.children(name)} == wanted,  # type: ignore[misc]
                seconds=seconds,
            )

    def wait_for_rest(self, name: str = "qwen-coder", missing: tuple[str, ...] = ()) -> None:
        """Wait until the operator has told all it has to tell of the current generation."""
        self.wait_for_children(name, missing=missing)
        wait_for("a status", lambda: self.condition("Ready", name) != ("", ""))

    def _told(self, kind: str, name: str) -> Object:
        obj = self.get("md", name)
        for condition in obj.get("status", {}).get("conditions", []):
            current = condition["observedGeneration"] == obj["metadata"]["generation"]
            if condition["type"] == kind and current:
                return dict(condition)
        return {}

    def _served(self) -> list[str]:
        try:
            self.plane.kubectl("get", "crd", "httproutes.gateway.networking.k8s.io")
        except HarnessError:
            return [_resource(kind) for kind in OF_A_MODEL if kind is not HTTP_ROUTE]
        return [_resource(kind) for kind in OF_A_MODEL]


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}".rstrip(".")
