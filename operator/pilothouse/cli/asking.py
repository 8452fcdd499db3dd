"""Asks every running pod what it serves, and gathers what it is to be compared with."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pilothouse.act.rest import Answer
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.cli.cluster import Cluster
from pilothouse.cli.rules import Rules, rules
from pilothouse.cli.verify import Check, Declared, Heard, Verdict, checks_of
from pilothouse.errors import NotFound, PilothouseError
from pilothouse.kinds import CHILDREN_SELECTOR, CONFIG_MAP, CONTROLLER_REVISION, MODEL_DEPLOYMENT, POD
from pilothouse.names import DEPLOYMENT, REVISION, GuardPath, child_name
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.podfiles import read_settings
from pilothouse.plan.podlayout import SETTINGS
from pilothouse.plan.pods import is_ready

_MODELS: Final = "/v1/models"
_AT_A_TIME: Final = 16


@dataclass(frozen=True, slots=True)
class Examined:
    """One pod and what was found of it; `serves` says whether it is to get requests at all."""

    namespace: str
    deployment: str
    revision: str
    pod: str
    serves: bool
    checks: tuple[Check, ...]


async def examine(cluster: Cluster, namespace: str, name: str = "") -> list[Examined]:
    """Ask the pods of one ModelDeployment, or of all; an empty namespace stands for all of them."""
    models = await _models(cluster, namespace, name)
    selector = f"{CHILDREN_SELECTOR},{DEPLOYMENT}={name}" if name else CHILDREN_SELECTOR
    known = await rules(cluster, namespace, selector)
    room = asyncio.Semaphore(_AT_A_TIME)

    async def in_turn(model: ModelDeployment, pod: Object) -> Examined:
        async with room:
            return await _examined(cluster, known, model, pod)

    pods = await _pods(cluster, namespace, selector)
    asked = [(models[owner], pod) for pod in pods if (owner := _owner(pod)) in models]
    return list(await asyncio.gather(*(in_turn(model, pod) for model, pod in asked)))


async def _models(cluster: Cluster, namespace: str, name: str) -> dict[tuple[str, str], ModelDeployment]:
    if name:
        objects = [await cluster.get(ObjectKey(MODEL_DEPLOYMENT.name, namespace, name))]
    else:
        objects = await cluster.list(MODEL_DEPLOYMENT, namespace)
    models = [ModelDeployment.parse(obj) for obj in objects]
    return {(model.metadata.namespace, model.metadata.name): model for model in models}


async def _pods(cluster: Cluster, namespace: str, selector: str) -> Iterable[Object]:
    pods = await cluster.list(POD, namespace, selector)
    return sorted((pod for pod in pods if _runs(pod)), key=key_of)


async def _examined(cluster: Cluster, known: Rules | str, model: ModelDeployment, pod: Object) -> Examined:
    key, revision = key_of(pod), pod["metadata"]["labels"].get(REVISION, "")
    serves = is_ready(pod) and not pod["metadata"].get("deletionTimestamp")
    record, files = await _record(cluster, model, revision), await _files(cluster, model, revision)
    declared = Declared(model, revision, record, files, _settings(known, model, record, files))
    heard = Heard(await _asked(cluster, key, _MODELS), await _asked(cluster, key, GuardPath.ABOUT))
    checks = checks_of(pod, declared, heard)
    return Examined(
        namespace=key.namespace,
        deployment=model.metadata.name,
        revision=revision,
        pod=key.name,
        serves=serves,
        checks=checks if serves else _of_one_that_need_not_answer(checks),
    )


def _of_one_that_need_not_answer(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Leave out what a pod does not say that gets no requests: it starts, or it goes."""
    return tuple(check for check in checks if check.verdict is not Verdict.NOT_ASKED)


async def _record(cluster: Cluster, model: ModelDeployment, revision: str) -> Object | None:
    try:
        return await cluster.get(_child(CONTROLLER_REVISION.name, model, revision))
    except NotFound:
        return None


async def _files(cluster: Cluster, model: ModelDeployment, revision: str) -> dict[str, str] | str:
    try:
        config_map = await cluster.get(_child(CONFIG_MAP.name, model, revision))
    except NotFound:
        return {}
    except PilothouseError as error:
        return str(error)
    return config_map.get("data") or {}


def _settings(
    known: Rules | str, model: ModelDeployment, record: Object | None, files: dict[str, str] | str
) -> Object | str:
    """Work out the guard's settings, where there is something to compare them with."""
    if isinstance(known, str):
        return known
    if isinstance(files, str) or not record:
        return {}
    return known.settings(model, record, read_settings(files.get(SETTINGS, "")))


async def _asked(cluster: Cluster, pod: ObjectKey, path: str) -> Answer | str:
    try:
        return await cluster.ask(pod, path)
    except PilothouseError as error:
        return str(error)


def _child(kind: str, model: ModelDeployment, revision: str) -> ObjectKey:
    return ObjectKey(kind, model.metadata.namespace, child_name(model.metadata.name, revision))


def _owner(pod: Object) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata["namespace"], metadata["labels"].get(DEPLOYMENT, "")


def _runs(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")
