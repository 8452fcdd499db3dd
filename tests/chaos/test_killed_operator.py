"""An operator that is killed at any moment, over and over, ends where an undisturbed one ends."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from chaos.changes import Changes
from chaos.ending import children, settled
from e2e.manifests import queue_class, rollout_policy
from harness.api import Api, Object, connect
from harness.outside import Process, operator
from pilothouse.kinds import QUEUE_CLASS, ROLLOUT_POLICY

pytestmark = pytest.mark.alone

SEED = 20261123
LONGEST_LIFE_SECONDS = 2.0


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncIterator[Api]:
    async with connect(kubeconfig) as connected:
        yield connected


@pytest.fixture
def process(kubeconfig: Path, tmp_path: Path) -> Iterator[Process]:
    with operator(kubeconfig, tmp_path) as process:
        process.start()
        yield process


@pytest.fixture
async def lanes(api: Api) -> AsyncIterator[list[str]]:
    names = [f"chaos-{uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        await api.apply(QUEUE_CLASS.path(name=name), queue_class(name), "people")
        await api.apply(ROLLOUT_POLICY.path(name=name), rollout_policy(name), "people")
    yield names
    for name in names:
        await api.delete(QUEUE_CLASS.path(name=name))
        await api.delete(ROLLOUT_POLICY.path(name=name))


@pytest.mark.parametrize(
    ("models", "kills"), [pytest.param(10, 5, id="short"), pytest.param(50, 20, id="full")]
)
async def test_kills_at_random_moments_leave_what_an_undisturbed_run_leaves(
    api: Api, lanes: list[str], process: Process, models: int, kills: int
) -> None:
    changes = Changes(SEED, models, lanes)

    undisturbed = await run(api, changes, disturb(process, 0))
    disturbed = await run(api, changes, disturb(process, kills))

    assert disturbed == undisturbed
    assert undisturbed


async def run(api: Api, changes: Changes, disturbance: Coroutine[None, None, None]) -> Object:
    """Make the changes in a namespace of their own, disturbed meanwhile; return what is there in the end."""
    namespace = f"chaos-{uuid4().hex[:8]}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    try:
        async with asyncio.TaskGroup() as group:
            made = group.create_task(changes.make(api, namespace))
            group.create_task(disturbance)
        await settled(api, namespace, made.result())
        return await children(api, namespace)
    finally:
        await api.delete(f"/api/v1/namespaces/{namespace}")


async def disturb(process: Process, kills: int) -> None:
    """Kill the operator again and again: while it starts, while it catches up and while it works."""
    random = Random(SEED)  # noqa: S311 -- a lot, not a secret
    for _ in range(kills):
        if random.random() < 0.8:
            await asyncio.to_thread(process.wait_leading)
        await asyncio.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
        process.kill()
        process.start()
