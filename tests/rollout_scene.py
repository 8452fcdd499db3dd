"""A cluster in which revisions roll out: pods, engines' counters and preflights follow what is planned.

It replays plans for tests of `plan`: time is a number, traffic follows the route, and each revision behaves
as the test says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from builders import NOW, Cluster, model_deployment, observed, queue_class
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.names import DEPLOYMENT, REVISION
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.readings import Histogram, Reading
from pilothouse.plan.types import Plan

OBJECTIVES = [
    {"metric": "TimeToFirstToken", "threshold": "500ms", "ratio": 0.95},
    {"metric": "Success", "ratio": 0.99},
]
FAST_POLICY = {
    "steps": [
        {"preflight": {}},
        {"weight": 10, "hold": "10s"},
        {"weight": 50, "hold": "10s"},
    ],
    "analysis": {"interval": "1s", "minRequests": 20, "warmupRequests": 0},
    "bake": "10s",
    "startupDeadline": "60s",
}
EDGES = (0.25, 0.5, 0.75, 1.0, float("inf"))


@dataclass(frozen=True)
class Behaviour:
    """What a revision's engines do: shares of bad events, seconds to load, and why the preflight fails."""

    slow: float = 0.0
    errors: float = 0.0
    load_seconds: float = 0.0
    preflight: str = ""
    readable: bool = True


def policy(**changes: Any) -> RolloutPolicySpec:
    """A policy of short steps, with changes on top."""
    return RolloutPolicySpec.model_validate(FAST_POLICY | changes)


def scene(replicas: int = 2, spec: Object | None = None, **fields: Any) -> "Scene":
    """A model at rest that follows the short policy and has two objectives."""
    fields = {"policy": policy(), "queue_class": queue_class({"objectives": OBJECTIVES})} | fields
    deployment = model_deployment({"replicas": replicas} | (spec or {}))
    started = Scene(observed(deployment, **fields))
    started.spec = {"replicas": replicas} | (spec or {})
    started.run(3)
    return started


class Scene(Cluster):
    """The cluster of the tests of `plan`, with traffic."""

    def __init__(self, seen: Observed) -> None:
        super().__init__(seen)
        self.spec: Object = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.rate = 40.0
        """Requests a second, all pods together."""
        self.room: int | None = None
        """How many pods can be scheduled; None for as many as are asked for."""
        self._born: dict[str, float] = {}
        self._served: dict[str, float] = {}
        self._bad: dict[str, tuple[float, float]] = {}
        self.weights: list[tuple[float, int]] = []
        self.plans: list[Plan] = []

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return (self.seen.now - NOW).total_seconds()

    @property
    def status(self) -> Object:
        """The status as it was last planned."""
        return self.plan.status

    @property
    def stable(self) -> str:
        """The revision that is stable."""
        return str(self.status["stable"]["revision"])

    @property
    def canary(self) -> str | None:
        """The revision that is tried."""
        return (self.status.get("canary") or {}).get("revision")

    @property
    def weight(self) -> int:
        """The canary's weight."""
        return int(((self.status.get("canary") or {}).get("weight") or {}).get("desired", 0))

    @property
    def state(self) -> str:
        """The rollout's state, empty where none is under way."""
        return str((self.status.get("rollout") or {}).get("state", ""))

    def edit(self, spec: Object, **fields: Any) -> "Scene":
        """Change the spec as a user would."""
        self.spec = self.spec | spec
        self.change(self.spec, **fields)
        return self

    def say(self, command: str) -> "Scene":
        """Annotate a command."""
        meta = self.seen.deployment.metadata
        annotated = meta.model_copy(update={"annotations": {"pilothouse.dev/command": command}})
        self.seen = replace(
            self.seen, deployment=self.seen.deployment.model_copy(update={"metadata": annotated})
        )
        return self

    def behaves(self, revision: str, **changes: Any) -> "Scene":
        """Make a revision behave so from now on."""
        known = self.behaviours.get(revision, Behaviour())
        self.behaviours[revision] = replace(known, **changes)
        return self

    def run(self, seconds: float, *, until: Callable[["Scene"], bool] = lambda _: False) -> "Scene":
        """Look once a second, or sooner as the plan wishes, for so long or until it holds."""
        end = self.seconds + seconds
        while self.seconds < end and not until(self):
            self.step()
        return self

    def reach(self, holds: Callable[["Scene"], bool], seconds: float = 600) -> "Scene":
        """Run until it holds; fail when the time is over."""
        self.run(seconds, until=holds)
        assert holds(self), f"never came: {self.state} {self.weight} {self.status.get('rollout')}"
        return self

    def step(self, seconds: float | None = None) -> Plan:
        """Let time pass, then look, plan and carry out once."""
        wait = self.plan.requeue_after.total_seconds() if self.plan.requeue_after else 1.0
        wait = seconds if seconds is not None else min(wait, 1.0)
        self._serve(wait)
        self.look()
        planned = self.tick(wait)
        self.plans.append(planned)
        self.weights.append((self.seconds, self.weight))
        return planned

    def look(self) -> None:
        """Bring pods, readings and preflights up to date with what runs."""
        self._refresh_deployments()
        pods = tuple(pod for name in self.revisions() for pod in self._pods_of(name))
        readings = tuple(self._reading(pod) for pod in pods if self._is_readable(pod))
        preflights = {pod["metadata"]["uid"]: self._preflight(pod) for pod in pods if _is_ready(pod)}
        unread = {
            pod["metadata"]["uid"]: "timed out"
            for pod in pods
            if _is_ready(pod) and not self._is_readable(pod)
        }
        self.seen = replace(self.seen, pods=pods, readings=readings, preflights=preflights, unread=unread)

    def behaviour(self, revision: str) -> Behaviour:
        """How a revision behaves."""
        return self.behaviours.get(revision, Behaviour())

    def asked(self, revision: str) -> int:
        """How many pods are asked for."""
        live = self.seen.child("Deployment", f"qwen-coder-{revision}")
        return int(live["spec"]["replicas"]) if live else 0

    def route_weights(self) -> dict[str, int]:
        """Weights of the live route by revision."""
        route = self.seen.children[ObjectKey("HTTPRoute", "team-ide", "qwen-coder")]
        backends = route["spec"]["rules"][0]["backendRefs"]
        return {backend["name"].rpartition("-")[2]: backend["weight"] for backend in backends}

    def revisions(self) -> list[str]:
        """Revisions that have a Deployment."""
        return [obj["metadata"]["labels"][REVISION] for obj in self.seen.children_of_kind("Deployment")]

    def _pods_of(self, revision: str) -> list[Object]:
        return [self._pod(revision, number) for number in range(self.asked(revision))]

    def _pod(self, revision: str, number: int) -> Object:
        uid = f"{revision}-{number}"
        ready = self._is_up(uid, revision)
        scheduled = self._is_scheduled(uid)
        conditions = [
            {
                "type": "PodScheduled",
                "status": str(scheduled),
                "message": "0/1 nodes: Insufficient nvidia.com/gpu",
            },
            {"type": "Ready", "status": str(ready)},
        ]
        return {
            "kind": "Pod",
            "metadata": {
                "name": uid,
                "uid": uid,
                "namespace": "team-ide",
                "labels": {DEPLOYMENT: "qwen-coder", REVISION: revision},
            },
            "spec": {
                "containers": [{"name": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
            },
            "status": {
                "podIP": "10.0.0.1",
                "conditions": conditions,
                "containerStatuses": [{"name": "engine", "started": ready, "restartCount": 0}],
            },
        }

    def _is_scheduled(self, uid: str) -> bool:
        if self.room is None:
            return True
        running = [
            name for name in sorted(self._born, key=lambda each: self._born[each]) if self._exists(name)
        ]
        return uid in running[: self.room]

    def _exists(self, uid: str) -> bool:
        revision, _, number = uid.rpartition("-")
        return int(number) < self.asked(revision)

    def _is_up(self, uid: str, revision: str) -> bool:
        if f"qwen-coder-{revision}" in self.broken:
            return False
        self._born.setdefault(uid, self.seconds)
        if not self._is_scheduled(uid):
            self._born[uid] = self.seconds
            return False
        return self.seconds - self._born[uid] >= self.behaviour(revision).load_seconds

    def _refresh_deployments(self) -> None:
        self._born = {uid: since for uid, since in self._born.items() if self._exists(uid)}
        self._served = {uid: served for uid, served in self._served.items() if self._exists(uid)}
        children = dict(self.seen.children)
        for key, obj in children.items():
            if key.kind == "Deployment":
                children[key] = {**obj, "status": self._deployment_status(obj)}
        self.seen = replace(self.seen, children=children)

    def _deployment_status(self, obj: Object) -> Object:
        if not hasattr(self, "_born"):
            return super()._deployment_status(obj)
        revision, wanted = obj["metadata"]["labels"][REVISION], obj["spec"]["replicas"]
        uids = [f"{revision}-{number}" for number in range(wanted)]
        ready = sum(self._is_up(uid, revision) for uid in uids)
        return {
            "observedGeneration": 1,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
            "conditions": [
                {
                    "type": "Available",
                    "status": str(ready > 0),
                    "lastTransitionTime": self._since(revision, available=ready > 0),
                }
            ],
        }

    def _since(self, revision: str, *, available: bool) -> str:
        since = self.__dict__.setdefault("_available", {})
        if since.get(revision, (None, ""))[0] != available:
            since[revision] = (available, self.seen.now.isoformat())
        return str(since[revision][1])

    def _serve(self, seconds: float) -> None:
        """Give each ready pod its share of the requests."""
        try:
            weights = self.route_weights()
        except KeyError:
            return
        for revision, weight in weights.items():
            ready = [pod["metadata"]["uid"] for pod in self._pods_of(revision) if _is_ready(pod)]
            for uid in ready:
                requests = self.rate * seconds * weight / 100 / len(ready)
                known = self._bad.get(uid, (0.0, 0.0))
                now = self.behaviour(revision)
                self._served[uid] = self._served.get(uid, 0.0) + requests
                self._bad[uid] = (known[0] + requests * now.slow, known[1] + requests * now.errors)

    def _is_readable(self, pod: Object) -> bool:
        return _is_ready(pod) and self.behaviour(pod["metadata"]["labels"][REVISION]).readable

    def _reading(self, pod: Object) -> Reading:
        uid = pod["metadata"]["uid"]
        served = float(int(self._served.get(uid, 0.0)))
        slow, errors = (float(int(each)) for each in self._bad.get(uid, (0.0, 0.0)))
        fast = served - slow
        return Reading(
            pod=uid,
            revision=pod["metadata"]["labels"][REVISION],
            at=self.seen.now,
            counters={
                "vllm:request_success_total/stop": served - errors,
                "vllm:request_success_total/length": 0.0,
                "vllm:request_success_total/abort": 0.0,
                "vllm:request_success_total/error": errors,
                "http_requests_total/2xx": served - errors,
                "http_requests_total/5xx": errors,
                "vllm:prompt_tokens_total": served * 100,
                "vllm:generation_tokens_total": served * 20,
                "vllm:num_preemptions_total": 0.0,
            },
            gauges={"vllm:num_requests_running": 1.0, "vllm:num_requests_waiting": 0.0},
            histograms={
                "vllm:time_to_first_token_seconds": Histogram(EDGES, (fast, fast, served, served, served)),
                "vllm:request_prompt_tokens": Histogram(
                    (100.0, 1000.0, float("inf")), (served, served, served)
                ),
            },
        )

    def _preflight(self, pod: Object) -> PreflightStatus:
        reason = self.behaviour(pod["metadata"]["labels"][REVISION]).preflight
        return PreflightStatus(pod=pod["metadata"]["uid"], reason=reason, message="said so" if reason else "")


def _is_ready(pod: Object) -> bool:
    return {"type": "Ready", "status": "True"} in pod["status"]["conditions"]
