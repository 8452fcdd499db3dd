"""A cluster in which revisions roll out: pods, engines' counters and preflights follow what is planned.

It replays plans for tests of `plan`: time is a number, traffic follows the route, and each revision behaves
as the test says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from builders import NOW, Cluster, model_deployment, observed, queue_class
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.names import DEPLOYMENT, REVISION
from pilothouse.observe.recent import Recent
from pilothouse.plan.observed import Object, Observed
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
    """What a revision's engines do.

    Shares of bad events, seconds to load, why the preflight fails, whether it ends, whether /metrics and
    /health answer.
    """

    slow: float = 0.0
    errors: float = 0.0
    load_seconds: float = 0.0
    preflight: str = ""
    examined: bool = True
    readable: bool = True
    healthy: bool = True


@dataclass
class Engine:
    """One pod; `scheduled` and `ready` are times in seconds, None before."""

    uid: str
    revision: str
    scheduled: float | None = None
    ready: float | None = None
    served: float = 0.0
    slow: float = 0.0
    errors: float = 0.0
    busy: bool = False


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
        self.rate = 2000.0
        """Requests a second, all pods together."""
        self.room: int | None = None
        """How many pods can be scheduled; None for as many as are asked for."""
        self.before = seen
        """What the last plan was made from."""
        self.engines: list[Engine] = []
        self._recent = Recent()
        self._made = 0
        self._available: dict[str, tuple[bool, str]] = {}
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
        self.before = self.seen
        planned = self.tick(wait)
        self.plans.append(planned)
        self.weights.append((self.seconds, self.weight))
        return planned

    def look(self) -> None:
        """Bring pods, readings and preflights up to date with what runs."""
        self._follow()
        up = [engine for engine in self.engines if self._is_ready(engine)]
        read = [engine for engine in up if self.behaviour(engine.revision).readable]
        self.seen = replace(
            self.seen,
            pods=tuple(self._pod(engine) for engine in self.engines),
            reachable=self._reachable(self.seen.children.values()),
            readings=tuple(self._reading(engine) for engine in read),
            unread={engine.uid: "timed out" for engine in up if engine not in read},
            preflights={engine.uid: self._preflight(engine) for engine in up if self._is_examined(engine)},
        )
        self.seen = replace(self.seen, recent=self._recent(self.seen))

    def behaviour(self, revision: str) -> Behaviour:
        """How a revision behaves."""
        return self.behaviours.get(revision, Behaviour())

    def asked(self, revision: str) -> int:
        """How many pods are asked for."""
        live = self.seen.child("Deployment", f"qwen-coder-{revision}")
        return int(live["spec"]["replicas"]) if live else 0

    def route_weights(self) -> dict[str, int]:
        """Weights of the live route by revision."""
        route = self.seen.child("HTTPRoute", "qwen-coder")
        backends = route["spec"]["rules"][0]["backendRefs"] if route else []
        return {backend["name"].rpartition("-")[2]: backend["weight"] for backend in backends}

    def revisions(self) -> list[str]:
        """Revisions that have a Deployment."""
        return [obj["metadata"]["labels"][REVISION] for obj in self.seen.children_of_kind("Deployment")]

    def _follow(self) -> None:
        """Make as many pods as are asked for, let them load, and let the Deployments say so."""
        self.engines = [each for name in self.revisions() for each in self._scaled(name)]
        for engine in self.engines:
            self._advance(engine)
        live = {key: obj for key, obj in self.seen.children.items() if key.kind == "Deployment"}
        counted = {key: {**obj, "status": self._deployment_status(obj)} for key, obj in live.items()}
        self.seen = replace(self.seen, children={**self.seen.children, **counted})

    def _scaled(self, revision: str) -> list[Engine]:
        """Pods of a revision, oldest first; those that are not ready go first."""
        own = [engine for engine in self.engines if engine.revision == revision]
        own.sort(key=lambda engine: not self._is_ready(engine))
        while len(own) < self.asked(revision):
            self._made += 1
            own.append(Engine(f"{revision}-{self._made}", revision))
        return own[: self.asked(revision)]

    def _advance(self, engine: Engine) -> None:
        placed = sum(each.scheduled is not None for each in self.engines)
        if engine.scheduled is None and (self.room is None or placed < self.room):
            engine.scheduled = self.seconds
        if engine.scheduled is None or engine.ready is not None:
            return
        loaded = self.seconds - engine.scheduled >= self.behaviour(engine.revision).load_seconds
        engine.ready = self.seconds if loaded else None

    def _is_ready(self, engine: Engine) -> bool:
        broken = f"qwen-coder-{engine.revision}" in self.broken
        return engine.ready is not None and self.behaviour(engine.revision).healthy and not broken

    def _pod(self, engine: Engine) -> Object:
        scheduled, loaded, ready = (
            engine.scheduled is not None,
            engine.ready is not None,
            self._is_ready(engine),
        )
        lack = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        return {
            "kind": "Pod",
            "metadata": {
                "name": engine.uid,
                "uid": engine.uid,
                "namespace": "team-ide",
                "labels": {DEPLOYMENT: "qwen-coder", REVISION: engine.revision},
            },
            "spec": {
                "containers": [{"name": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
            },
            "status": {
                "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "PodScheduled", "status": str(scheduled), "message": "" if scheduled else lack},
                    {"type": "Initialized", "status": "True", "lastTransitionTime": NOW.isoformat()},
                    {
                        "type": "Ready",
                        "status": str(ready),
                        "lastTransitionTime": self._at(engine.ready).isoformat(),
                    },
                ],
                "containerStatuses": [
                    {"name": "engine", "started": loaded, "ready": ready, "restartCount": 0}
                ],
            },
        }

    def _at(self, seconds: float | None) -> datetime:
        return NOW + timedelta(seconds=seconds or 0)

    def _deployment_status(self, obj: Object) -> Object:
        revision, wanted = obj["metadata"]["labels"][REVISION], obj["spec"]["replicas"]
        ready = sum(self._is_ready(engine) for engine in self.engines if engine.revision == revision)
        return {
            "observedGeneration": 1,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": min(ready, wanted),
            "conditions": [
                {
                    "type": "Available",
                    "status": str(ready > 0),
                    "lastTransitionTime": self._since(revision, available=ready > 0),
                }
            ],
        }

    def _since(self, revision: str, *, available: bool) -> str:
        known = self._available.get(revision)
        if not known or known[0] != available:
            known = self._available[revision] = (available, self.seen.now.isoformat())
        return known[1]

    def _serve(self, seconds: float) -> None:
        """Give each ready pod its share of the requests."""
        for engine in self.engines:
            engine.busy = False
        for revision, weight in self.route_weights().items():
            ready = [each for each in self.engines if each.revision == revision and self._is_ready(each)]
            now = self.behaviour(revision)
            for engine in ready:
                requests = self.rate * seconds * weight / 100 / len(ready)
                engine.busy = int(engine.served + requests) > int(engine.served)
                engine.served += requests
                engine.slow += requests * now.slow
                engine.errors += requests * now.errors

    def _reading(self, engine: Engine) -> Reading:
        served, slow, errors = (float(int(n)) for n in (engine.served, engine.slow, engine.errors))
        fast = served - slow
        return Reading(
            pod=engine.uid,
            revision=engine.revision,
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
            gauges={"vllm:num_requests_running": float(engine.busy), "vllm:num_requests_waiting": 0.0},
            histograms={
                "vllm:time_to_first_token_seconds": Histogram(EDGES, (fast, fast, served, served, served)),
                "vllm:request_prompt_tokens": Histogram(
                    (100.0, 1000.0, float("inf")), (served, served, served)
                ),
            },
        )

    def _is_examined(self, engine: Engine) -> bool:
        """A pod whose result is on record is not examined again."""
        rollout = self.seen.deployment.status.rollout
        on_record = {each.pod for each in rollout.preflight} if rollout else set()
        return engine.uid not in on_record and self.behaviour(engine.revision).examined

    def _preflight(self, engine: Engine) -> PreflightStatus:
        reason = self.behaviour(engine.revision).preflight
        return PreflightStatus(pod=engine.uid, reason=reason, message="said so" if reason else "")
