"""Builders of what tests of plan/ need: specs as people write them, objects as the cluster has them."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.api.tenantquota import Callers, TenantQuota
from pilothouse.names import REVISION
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.plan import plan
from pilothouse.plan.revision import hash_of, inputs_of
from pilothouse.plan.types import Plan

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"
OTHER_COMMIT = "0396a76181e127dfc13e5c5ec48a8cee09938b02"
DIGEST = "sha256:" + "ab" * 32
GATEWAY = ObjectKey("Gateway", "gateways", "models")
ALL_KINDS = frozenset({"HTTPRoute", "Gateway"})


def merged(base: Object, changes: Object) -> Object:
    """Deep copy of `base` with `changes` on top; dicts are merged, all else is replaced."""
    result = copy.deepcopy(base)
    for name, value in changes.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def manifest(spec: Object | None = None, **metadata: Any) -> Object:
    """A ModelDeployment as the API server returns it, with `spec` merged over a small good one."""
    base = {
        "model": {
            "name": "qwen2.5-coder-7b",
            "checkpoint": {"source": "hf://Qwen/Qwen2.5-Coder-7B-Instruct", "revision": COMMIT},
            "tokenizer": {"revision": COMMIT},
            "license": {"id": "Apache-2.0"},
        },
        "queueClassName": "completion",
        "engine": {"image": "vllm/vllm-openai:v0.32.0"},
        "replicas": 2,
        "route": {
            "parentRefs": [{"name": "models", "namespace": "gateways"}],
            "pathPrefix": "/team-ide/qwen-coder",
        },
    }
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "qwen-coder", "namespace": "team-ide", "uid": "u1", "generation": 1, **metadata},
        "spec": merged(base, spec or {}),
    }


def model_deployment(
    spec: Object | None = None, status: Object | None = None, **metadata: Any
) -> ModelDeployment:
    """Parsed form of `manifest`."""
    return ModelDeployment.parse({**manifest(spec, **metadata), "status": status or {}})


def queue_class(spec: Object | None = None) -> QueueClass:
    """Lane of the design's example."""
    base = {
        "requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"},
        "concurrency": {"perReplica": 64, "queuedPerReplica": 32},
        "drain": "30s",
    }
    return QueueClass.parse({"metadata": {"name": "completion"}, "spec": merged(base, spec or {})})


def gateway(*, programmed: bool = True) -> Object:
    """Gateway with one plain listener and an address."""
    return {
        "kind": "Gateway",
        "metadata": {"name": GATEWAY.name, "namespace": GATEWAY.namespace},
        "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        "status": {
            "addresses": [{"type": "IPAddress", "value": "10.96.0.7"}],
            "conditions": [{"type": "Programmed", "status": str(programmed)}],
        },
    }


def tenant_quota(name: str, callers: Callers, status: Object | None = None) -> TenantQuota:
    """A tenant of the namespace of its own name."""
    spec = {"namespaces": [name], "callers": callers}
    return TenantQuota.parse({"metadata": {"name": name}, "spec": spec, "status": status or {}})


def observed(
    deployment: ModelDeployment | None = None, callers: Mapping[str, Callers] | None = None, **fields: Any
) -> Observed:
    """What one reconcile sees of a cluster where everything that is referred to exists.

    `callers` is short for the `tenants` who have them.
    """
    fields = {
        "tenants": {name: tenant_quota(name, each) for name, each in (callers or {}).items()},
        "queue_class": queue_class(),
        "policy": BUILT_IN,
        "gateways": {GATEWAY: gateway()},
        "served_kinds": ALL_KINDS,
        "now": NOW,
        **fields,
    }
    return Observed(deployment=deployment or model_deployment(), **fields)


class Cluster:
    """A cluster in which every controller has had its time: what was applied is live.

    It replays plans for tests of `plan` and knows nothing of Kubernetes but the status fields that they read.
    """

    def __init__(self, seen: Observed | None = None) -> None:
        self.seen = seen or observed()
        self.plan = plan(self.seen)
        self.broken: set[str] = set()
        """Names of Deployments whose pods are not ready."""
        self.unnamed: set[str] = set()
        """Revisions whose Services do not name their pods."""
        self.gateway_answers = True

    def change(self, spec: Object | None = None, **fields: Any) -> Self:
        """Edit the spec (generation moves) or any other field of what is seen."""
        if spec is not None:
            meta = self.seen.deployment.metadata
            raw = manifest(spec, generation=meta.generation + 1, annotations=meta.annotations)
            status = self.seen.deployment.status
            fields["deployment"] = ModelDeployment.parse(raw).model_copy(update={"status": status})
        self.seen = replace(self.seen, **fields)
        return self

    def tick(self, seconds: float = 1) -> Plan:
        """Plan once, apply, and let Deployments and the gateway follow."""
        self.plan = plan(self.seen)
        children = {key: obj for key, obj in self.seen.children.items() if key not in self.plan.prunes}
        children |= {key_of(obj): self._live(obj) for obj in self.plan.objects}
        deployment = self.seen.deployment.model_copy(
            update={"status": type(self.seen.deployment.status).model_validate(self.plan.status)}
        )
        self.seen = replace(
            self.seen,
            children=children,
            reachable=self._reachable(children.values()),
            deployment=deployment,
            now=self.seen.now + timedelta(seconds=seconds),
        )
        return self.plan

    def settle(self) -> Plan:
        """Tick until nothing changes; fails when that never comes."""
        before: Object | None = None
        for _ in range(10):
            self.tick()
            after = {"status": self.plan.status, "objects": self.plan.objects, "prunes": self.plan.prunes}
            if after == before:
                return self.plan
            before = after
        raise AssertionError("the plan never settles")

    @property
    def target(self) -> str:
        """Revision that the spec asks for."""
        assert self.seen.queue_class
        return hash_of(inputs_of(self.seen.deployment, self.seen.queue_class))

    def begin(self) -> str:
        """Tick until a canary runs, and name it."""
        for _ in range(10):
            self.tick()
            if "canary" in self.plan.status:
                return str(self.plan.status["canary"]["revision"])
        raise AssertionError("no rollout begins")

    def roll_out(self) -> Plan:
        """Tick, a minute at a time, until no rollout is under way and nothing changes."""
        for _ in range(60):
            self.tick(seconds=60)
            if not {"canary", "rollout"} & self.plan.status.keys():
                return self.settle()
        raise AssertionError("the rollout never ends")

    def kinds(self) -> list[str]:
        """Live children as `Kind name`, sorted."""
        return sorted(f"{key.kind} {key.name}" for key in self.seen.children)

    def _live(self, obj: Object) -> Object:
        live = {**obj, "metadata": {**obj["metadata"], "generation": 1}}
        if obj["kind"] == "Deployment":
            live["status"] = self._deployment_status(obj)
        if obj["kind"] == "HTTPRoute":
            live["status"] = {"parents": [accepted_parent()] if self.gateway_answers else []}
        return live

    def _reachable(self, children: Iterable[Object]) -> dict[str, int]:
        named = (
            (obj["metadata"]["labels"][REVISION], obj["status"]["readyReplicas"])
            for obj in children
            if obj["kind"] == "Deployment"
        )
        return {revision: count for revision, count in named if revision not in self.unnamed}

    def _deployment_status(self, obj: Object) -> Object:
        wanted = obj["spec"]["replicas"]
        ready = 0 if obj["metadata"]["name"] in self.broken else wanted
        return {
            "observedGeneration": 1,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
        }


def accepted_parent(*, accepted: bool = True, reason: str = "Accepted") -> Object:
    """What a gateway writes into a route's status."""
    return {
        "parentRef": {"name": "models", "namespace": "gateways"},
        "conditions": [
            {
                "type": "Accepted",
                "status": str(accepted),
                "reason": reason,
                "observedGeneration": 1,
                "message": "said so",
            },
        ],
    }


def parent_without_pods(status: str = "False", reason: str = "EndpointsNotFound") -> Object:
    """What Envoy Gateway adds while it knows no ready pod of a backend."""
    parent = accepted_parent()
    said = {"type": "BackendsAvailable", "status": status, "reason": reason, "observedGeneration": 1}
    return {**parent, "conditions": [*parent["conditions"], said]}


def condition(plan_: Plan, kind: str) -> Object:
    """One condition of a plan's status."""
    found: Iterable[Object] = plan_.status["conditions"]
    return next(entry for entry in found if entry["type"] == kind)


def by_kind(plan_: Plan, kind: str) -> list[Object]:
    """Planned objects of one kind."""
    return [obj for obj in plan_.objects if obj["kind"] == kind]
