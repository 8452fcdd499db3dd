"""The pod of one revision, rendered once: vLLM as it needs to run, without root, without a cluster token.

The result is frozen in the ControllerRevision; what is changed here reaches new revisions only.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeployment import EnvVar, ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.plan import podlayout
from pilothouse.plan.arguments import engine_arguments
from pilothouse.plan.fetch import fetch_request
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.observed import Object
from pilothouse.plan.sources import mounted

_USER: Final = 2000
_HOME: Final = "/home/vllm"
_CACHE: Final = "/var/cache/huggingface"
_KEEP_ALIVE_SECONDS: Final = 3900

_COMMON: Final = {
    # Without an entry in /etc/passwd, getpass.getuser() of torch's compiler cache needs one of these.
    "HOME": _HOME,
    "USER": "vllm",
    "HF_HOME": _CACHE,
    "PYTHONPATH": podlayout.FOLDER,
    "PILOTHOUSE_RUN": podlayout.RUN_FOLDER,
}
_OF_THE_ENGINE: Final = {
    # What was fetched was checked; the engine itself asks no hub.
    "HF_HUB_OFFLINE": "1",
    "PILOTHOUSE_SETTINGS": f"{podlayout.FOLDER}/{podlayout.SETTINGS}",
    "PILOTHOUSE_PROMPT_KEY": f"{podlayout.KEY_FOLDER}/key",
    "TORCHINDUCTOR_CACHE_DIR": f"{_HOME}/.cache/torchinductor",
    "VLLM_NO_USAGE_STATS": "1",
    # Gateways keep idle connections for an hour; vLLM's own 5 s would reset them under a request.
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(_KEEP_ALIVE_SECONDS),
}


_FOR_THE_HUB: Final = re.compile(r"HF_|(https?|no|all)_proxy$|(SSL|REQUESTS|CURL)_", re.IGNORECASE)
"""Variables with which people lead the fetch to a mirror, through a proxy, or give it their CA."""


def pod_template(
    deployment: ModelDeployment,
    queue_class: QueueClass,
    lifecycle: Lifecycle,
    revision: str,
    hub: str = "",
) -> Object:
    """Return the pod template of a new revision, labels included; `hub` is where hf:// leads, if elsewhere.

    The mirror is no part of the hash: what is fetched is told by its digests, wherever it is from.
    """
    return {
        "metadata": {"labels": _labels(deployment, revision)},
        "spec": {
            "initContainers": [_fetch(deployment, hub)],
            "containers": [_engine(deployment, queue_class, lifecycle)],
            "volumes": _volumes(deployment, revision),
            "terminationGracePeriodSeconds": lifecycle.grace_period,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_placement(deployment),
        },
    }


def label_value(text: str) -> str:
    """Text as a label value: an SPDX expression has blanks and signs that a label may not have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:63].strip("._-")


def _labels(deployment: ModelDeployment, revision: str) -> dict[str, str]:
    return {
        names.MANAGED_BY: names.MANAGED_BY_VALUE,
        names.DEPLOYMENT: deployment.metadata.name,
        names.REVISION: revision,
        names.QUEUE_CLASS: deployment.spec.queue_class_name,
        names.LICENSE_ID: label_value(deployment.spec.model.license.id),
    }


def _fetch(deployment: ModelDeployment, hub: str) -> Object:
    """Bring the artifacts before the engine starts: no GPU loads what was not checked."""
    request = {"PILOTHOUSE_FETCH": fetch_request(deployment), "HF_ENDPOINT": hub}
    token = deployment.spec.model.checkpoint.secret_ref
    secret = [_from_secret(names.HF_TOKEN_KEY, token.name, names.HF_TOKEN_KEY)] if token else []
    return {
        "name": names.FETCH_CONTAINER,
        "command": ["python3", f"{podlayout.FOLDER}/{podlayout.FETCH}"],
        "env": _merged([*_own({**_COMMON, **request}), *_for_the_hub(_users(deployment)), *secret]),
        **_container(deployment),
    }


def _engine(deployment: ModelDeployment, queue_class: QueueClass, lifecycle: Lifecycle) -> Object:
    return {
        "name": names.ENGINE_CONTAINER,
        "command": ["vllm", "serve"],
        "args": engine_arguments(deployment, queue_class),
        "env": _merged([*_own({**_COMMON, **_OF_THE_ENGINE}), *_users(deployment)]),
        "ports": [{"name": names.ENGINE_PORT_NAME, "containerPort": names.ENGINE_PORT, "protocol": "TCP"}],
        **_container(deployment, gpus=deployment.spec.resources.gpu.count),
        **lifecycle.container_fields(),
    }


def _container(deployment: ModelDeployment, gpus: int = 0) -> Object:
    """Return what both containers have alike; only the engine gets GPUs."""
    return {
        "image": deployment.spec.engine.image,
        "imagePullPolicy": "IfNotPresent",
        "resources": _resources(deployment, gpus),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": _mounts(deployment),
    }


def _own(values: Mapping[str, str]) -> list[Object]:
    """Return ours; what is empty is left to the programs' own defaults."""
    field = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    return [
        {"name": "PILOTHOUSE_POD", "valueFrom": field},
        *({"name": name, "value": value} for name, value in values.items() if value),
    ]


def _users(deployment: ModelDeployment) -> list[Object]:
    """Return the user's own: what may not be changed is refused by the API, not dropped here."""
    return [_user_entry(entry) for entry in deployment.spec.engine.env]


def _for_the_hub(entries: Iterable[Object]) -> list[Object]:
    """Return those of the user's variables that lead to the hub; the others are none of the fetch's."""
    return [entry for entry in entries if _FOR_THE_HUB.match(entry["name"])]


def _merged(entries: Iterable[Object]) -> list[Object]:
    """Return one entry a name; the later one wins."""
    return list({entry["name"]: entry for entry in entries}.values())


def _user_entry(entry: EnvVar) -> Object:
    if entry.value_from:
        secret = entry.value_from.secret_key_ref
        return _from_secret(entry.name, secret.name, secret.key)
    return {"name": entry.name, "value": entry.value or ""}


def _from_secret(name: str, secret: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _resources(deployment: ModelDeployment, gpus: int) -> Object:
    resources = deployment.spec.resources
    amounts = {"cpu": resources.cpu, "memory": resources.memory}
    if gpus:
        amounts[resources.gpu.resource_name] = str(gpus)
    return {"requests": amounts, "limits": amounts}


def _volumes(deployment: ModelDeployment, revision: str) -> list[Object]:
    claim = deployment.spec.storage.cache_claim_name
    cache: Object = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return [
        # Runtimes give a pod 64 MiB, and vLLM ends with "Insufficient space in /dev/shm".
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "home", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "cache", **cache},
        *podlayout.volumes(names.child_name(deployment.metadata.name, revision)),
        *(artifact.volume() for artifact in mounted(deployment)),
    ]


def _mounts(deployment: ModelDeployment) -> list[Object]:
    return [
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 -- a mount of the pod's own
        {"name": "home", "mountPath": _HOME},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 -- the same
        {"name": "cache", "mountPath": _CACHE},
        *podlayout.mounts(),
        *(artifact.mount() for artifact in mounted(deployment)),
    ]


def _placement(deployment: ModelDeployment) -> Object:
    placement = deployment.spec.placement
    fields = placement.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in fields.items() if value}
