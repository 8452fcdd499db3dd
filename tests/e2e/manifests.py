"""What the tests apply, written as people write it: small models on the stand-in engine, and their lane."""

import json
from typing import Any
from uuid import uuid4

Object = dict[str, Any]

COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"
OTHER_COMMIT = "0396a76181e127dfc13e5c5ec48a8cee09938b02"
MODEL = "qwen2.5-coder-7b"
IMAGE = "pilothouse.dev/vllm-sim:v0.32.0"
SMALL = {"gpu": {"count": 0}, "cpu": "20m", "memory": "256Mi"}
"""So little that a node of two cores has room for all pods of the files that run side by side."""


def queue_class(name: str, **spec: Any) -> Object:
    """A lane whose drain is short enough for a test and longer than any of its streams.

    Its queue is so long that an engine which a busy machine stops for seconds is late and refuses nobody.
    """
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "QueueClass",
        "metadata": {"name": name},
        "spec": {
            "requests": {"maxInputTokens": 2048, "maxOutputTokens": 256, "timeout": "60s"},
            "concurrency": {"perReplica": 32, "queuedPerReplica": 1024},
            "drain": "20s",
            **spec,
        },
    }


def rollout_policy(name: str, **spec: Any) -> Object:
    """A policy in seconds instead of minutes: half of the traffic, judged each second, then all of it."""
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": name},
        "spec": {
            "steps": [{"weight": 50, "hold": "2s"}],
            "analysis": {"interval": "1s", "minRequests": 20, "warmupRequests": 5},
            "bake": "3s",
            "startupDeadline": "90s",
            "maxConcurrentRollouts": 100,
            **spec,
        },
    }


def model_deployment(name: str, namespace: str, lane: str, **spec: Any) -> Object:
    """A model on one CPU-only engine pod behind the Gateway `models`; `spec` replaces whole fields."""
    return {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": model(),
            "queueClassName": lane,
            "engine": engine(),
            "resources": SMALL,
            "replicas": 1,
            "route": route(name, namespace),
            **spec,
        },
    }


def fresh_commit() -> str:
    """Draw a commit that no other test uses: what fails in one model is not tried in another."""
    return f"{uuid4().hex}{uuid4().hex[:8]}"


def model(commit: str = COMMIT) -> Object:
    """A checkpoint and its tokenizer, pinned to one commit."""
    return {
        "name": MODEL,
        "checkpoint": {"source": "hf://Qwen/Qwen2.5-Coder-7B-Instruct", "revision": commit},
        "tokenizer": {"revision": commit},
        "license": {"id": "Apache-2.0"},
    }


def engine(image: str = IMAGE, **faults: Any) -> Object:
    """The stand-in engine; `faults` (of `harness.vllm_sim.faults`) are what goes wrong from its start."""
    env = [{"name": "VLLM_SIM_FAULTS", "value": json.dumps(faults)}] if faults else []
    return {"image": image, "env": env}


def route(name: str, namespace: str, gateway: str = "models") -> Object:
    """The route of a model: a path of its own on a Gateway in `gateways`."""
    parents = [{"name": gateway, "namespace": "gateways"}]
    return {"parentRefs": parents, "pathPrefix": f"/{namespace}/{name}"}
