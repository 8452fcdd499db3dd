"""A status is written at the version that was seen, or not at all: by a real API server."""

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config

from integration.loop.control_plane import ControlPlane
from integration.loop.team import Team
from pilothouse.act.credentials import Credentials
from pilothouse.act.rest import Rest, connect
from pilothouse.act.status import write_status
from pilothouse.errors import Outdated
from pilothouse.plan.observed import Object, ObjectKey


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Rest]:
    """A connection with the operator's rights."""
    configuration = Configuration()
    await load_kube_config(str(plane.folder / "operator"), client_configuration=configuration)
    async with connect(Credentials(configuration)) as kube:
        yield kube


@pytest.fixture
async def seen(team: Team, kube: Rest) -> Object:
    """A ModelDeployment as it was seen."""
    team.declare()
    return await kube.get(ObjectKey("ModelDeployment", team.namespace, "qwen-coder"))


async def test_of_two_decisions_from_one_version_one_is_recorded(kube: Rest, seen: Object) -> None:
    assert await write_status(kube, seen, {"phase": "RollingOut"})
    with pytest.raises(Outdated):
        await write_status(kube, seen, {"phase": "Degraded"})


async def test_a_decision_from_before_an_edit_is_not_recorded(kube: Rest, seen: Object, team: Team) -> None:
    team.kubectl("annotate", "md/qwen-coder", "pilothouse.dev/command=abort/b")
    with pytest.raises(Outdated):
        await write_status(kube, seen, {"phase": "RollingOut"})
    assert "status" not in team.get("md", "qwen-coder")


async def test_a_decision_about_a_former_object_of_the_name_is_not_recorded(
    kube: Rest, seen: Object, team: Team
) -> None:
    team.kubectl("delete", "md/qwen-coder")
    team.declare()
    with pytest.raises(Outdated):
        await write_status(kube, seen, {"phase": "RollingOut"})


async def test_the_answer_is_what_the_next_decision_may_start_from(kube: Rest, seen: Object) -> None:
    first = await write_status(kube, seen, {"phase": "RollingOut"})
    assert first
    second = await write_status(kube, first, {"phase": "Ready"})
    assert second
    assert second["status"]["phase"] == "Ready"
