"""What only the cluster or the engine's release can tell is accepted, and then refused by a condition.

All manifests are applied at once, each in a namespace of its own, and each test looks at one of them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from harness.api import Api, Object, connect
from manifests.corpus import Told, told_cases
from pilothouse.kinds import MODEL_DEPLOYMENT, QUEUE_CLASS
from pilothouse.names import Reason

pytestmark = pytest.mark.usefixtures("crds", "operator")

LANE = {
    "apiVersion": "pilothouse.dev/v1alpha1",
    "kind": "QueueClass",
    "metadata": {"name": "corpus"},
    "spec": {"requests": {"maxInputTokens": 1024, "maxOutputTokens": 64, "timeout": "15s"}},
}
SECONDS = 60


@pytest.fixture(scope="module")
def conditions(kubeconfig: Path, crds: None, operator: object) -> dict[str, Object]:  # noqa: ARG001 -- are there
    """The condition of each case, by its sentence, once its reason is the expected one or time is over."""

    async def tell() -> dict[str, Object]:
        async with connect(kubeconfig) as api, _lane(api):
            told = await asyncio.gather(*(_condition(api, case) for case in told_cases()))
        return dict(zip((case.sentence for case in told_cases()), told, strict=True))

    return asyncio.run(tell())


@asynccontextmanager
async def _lane(api: Api) -> AsyncIterator[None]:
    await api.apply(QUEUE_CLASS.path(name="corpus"), LANE, "people")
    yield
    await api.delete(QUEUE_CLASS.path(name="corpus"))


async def _condition(api: Api, case: Told) -> Object:
    namespace = f"test-{uuid4().hex[:8]}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = MODEL_DEPLOYMENT.path(namespace)
    model = await api.create(path, case.manifest, fieldValidation="Strict")
    since = model["metadata"]["resourceVersion"]
    try:
        return await asyncio.wait_for(_follow(api, path, since, case), SECONDS)
    except TimeoutError:
        return _find(await api.get(f"{path}/corpus"), case)
    finally:
        await api.delete(f"/api/v1/namespaces/{namespace}")


async def _follow(api: Api, path: str, since: str, case: Told) -> Object:
    while True:
        async for event in api.watch(path, resourceVersion=since):
            found = _find(event["object"], case)
            if found.get("reason") == case.reason:
                return found


def _find(model: Object, case: Told) -> Object:
    conditions = model.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == case.condition), {})


@pytest.mark.parametrize("case", told_cases(), ids=lambda case: case.sentence)
def test_what_can_not_be_carried_out_is_said_in_a_condition(
    conditions: dict[str, Object], case: Told
) -> None:
    condition = conditions[case.sentence]

    assert (condition["status"], condition["reason"]) == ("False", case.reason)
    assert case.names in condition["message"]


def test_each_reason_of_the_corpus_is_one_of_the_api() -> None:
    assert {case.reason for case in told_cases()} <= set(Reason)
