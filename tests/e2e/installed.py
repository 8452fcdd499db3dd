"""The installed operator, seen from outside: its pods, their logs and their metrics."""

import json
from collections.abc import Callable
from typing import Any

from harness.logs import lines

NAMESPACE = "pilothouse-system"
PODS = "app.kubernetes.io/name=pilothouse"


class Operator:
    """What the operator's pods tell."""

    def __init__(self, kubectl: Callable[..., str]) -> None:
        self._kubectl = kubectl

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in the operator's namespace and return its stdout."""
        return self._kubectl("--namespace", NAMESPACE, *argv)

    def restart(self) -> None:
        """Run the image of today: its tag is the same as yesterday's."""
        self.kubectl("rollout", "restart", "deployment/pilothouse")
        self.kubectl("rollout", "status", "deployment/pilothouse", "--timeout=3m")

    def pods(self) -> list[str]:
        """Name the operator's pods."""
        return self.kubectl("get", "pods", f"--selector={PODS}", "--output=name").split()

    def containers(self) -> dict[str, str]:
        """Return each pod's container by its id, which a restart changes."""
        template = "{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{'\\n'}{end}"
        lines = self.kubectl(
            "get", "pods", f"--selector={PODS}", f"--output=jsonpath={template}"
        ).splitlines()
        return dict(line.split() for line in lines)

    def log(self) -> list[str]:
        """Return the log lines of all pods."""
        return [line for pod in self.pods() for line in lines(self.kubectl("logs", pod))]

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the log records about one model."""
        records = [json.loads(line) for line in self.log()]
        return [record for record in records if record.get("name") == name]

    def metrics(self) -> list[str]:
        """Return each pod's metrics, fetched through the API server."""
        names = [pod.removeprefix("pod/") for pod in self.pods()]
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        return [self.kubectl("get", "--raw", f"{path}/{name}:8080/proxy/metrics") for name in names]

    def leader_metrics(self) -> str:
        """Return the metrics of the pod that holds the Lease."""
        [found] = [text for text in self.metrics() if "pilothouse_leader 1.0" in text]
        return found
