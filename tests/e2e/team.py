"""A team and its namespace: what people do with kubectl, as methods."""

import json
from collections.abc import Callable
from typing import Any

from e2e.manifests import model_deployment
from harness.shell import wait_for
from pilothouse.names import ENGINE_CONTAINER

Object = dict[str, Any]

DEADLINE = 150
"""Seconds after which a wait fails; generous, since a busy machine is no defect of ours."""
READY = '{.status.conditions[?(@.type=="Ready")].status}'
REASON = '{.status.conditions[?(@.type=="Ready")].reason}'


class Team:
    """One namespace; `lane` names the QueueClass and the RolloutPolicy that its models use."""

    def __init__(self, kubectl: Callable[..., str], namespace: str, lane: str) -> None:
        self._kubectl = kubectl
        self.namespace = namespace
        self.lane = lane

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace and return its stdout."""
        return self._kubectl("--namespace", self.namespace, *argv, input=stdin)

    def apply(self, *objects: Object) -> None:
        """Apply objects, strictly validated."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--validate=strict", "--filename=-", stdin=document)

    def model(self, name: str, **spec: Any) -> Object:
        """Write a model of this team, whose changes roll out by the policy that has the lane's name."""
        spec = {"rollout": {"policyName": self.lane}} | spec
        return model_deployment(name, self.namespace, self.lane, **spec)

    def get(self, kind: str, name: str) -> Object:
        """Return one object."""
        return json.loads(self.kubectl("get", kind, name, "--output=json"))

    def all(self, kinds: str, *selector: str) -> list[Object]:
        """Return the objects of some kinds, all or those that a selector picks."""
        selectors = [f"--selector={text}" for text in selector]
        return json.loads(self.kubectl("get", kinds, *selectors, "--output=json"))["items"]

    def children(self, name: str) -> list[str]:
        """Name the objects of a model that exist, pods and endpoints included, as `Kind name`."""
        kinds = "deployments,replicasets,pods,services,poddisruptionbudgets,controllerrevisions,httproutes"
        return [
            f"{child['kind']} {child['metadata']['name']}"
            for child in self.all(kinds, f"pilothouse.dev/deployment={name}")
        ]

    def pods(self, name: str) -> list[Object]:
        """Return the pods of a model that are not on their way out."""
        found = self.all("pods", f"pilothouse.dev/deployment={name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pods_ever_made(self, name: str) -> int:
        """Count the pods of a model that were ever created, by what was told of it."""
        told = [
            event for event in self.all("events.v1.events.k8s.io") if event["reason"] == "SuccessfulCreate"
        ]
        makers = [event["regarding"]["name"] for event in told]
        return sum(maker.startswith(f"{name}-") for maker in makers)

    def engine_started(self, name: str) -> bool:
        """Whether the engine of a model's one pod ever ran."""
        [pod] = self.pods(name)
        [engine] = [each for each in pod["status"]["containerStatuses"] if each["name"] == ENGINE_CONTAINER]
        return engine["restartCount"] > 0 or "waiting" not in engine["state"]

    def condition(self, name: str, kind: str = "Ready") -> Object:
        """Return a condition of a model."""
        conditions = self.get("md", name)["status"]["conditions"]
        return next(entry for entry in conditions if entry["type"] == kind)

    def child(self, name: str) -> str:
        """Name the children of the revision that serves."""
        return f"{name}-{self.get('md', name)['status']['stable']['revision']}"

    def wait(self, *argv: str, seconds: int = DEADLINE) -> None:
        """Run `kubectl wait`, which fails when the time is over."""
        self.kubectl("wait", f"--timeout={seconds}s", *argv)

    def wait_ready(self, *names: str, seconds: int = DEADLINE) -> None:
        """Wait as people do until models are Ready."""
        self.wait("--for=condition=Ready", *(f"md/{name}" for name in names), seconds=seconds)

    def wait_reason(self, name: str, reason: str, seconds: int = DEADLINE) -> None:
        """Wait until the reason of Ready is this one."""
        self.wait(f"--for=jsonpath={REASON}={reason}", f"md/{name}", seconds=seconds)

    def wait_gone(self, name: str, seconds: int = DEADLINE) -> None:
        """Wait until neither a model nor anything of it is left."""
        self.wait("--for=delete", f"md/{name}", seconds=seconds)
        wait_for(f"the children of {name} to go", lambda: not self.children(name), seconds=seconds, pause=0.5)
