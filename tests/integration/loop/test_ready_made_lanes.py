"""The chart's lanes are made once and are the platform team's from then on."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import pytest

from harness.kubectl import tool
from harness.paths import REPOSITORY
from harness.shell import run
from integration.loop.conftest import LANE
from integration.loop.control_plane import ControlPlane

RELEASE = "lanes"


class Helm(Protocol):
    """Runs a helm command on the release of this test, in its own namespace."""

    def __call__(self, *argv: str) -> str: ...


@pytest.fixture
def helm(plane: ControlPlane) -> Iterator[Helm]:
    command = [tool("helm"), "--kubeconfig", plane.kubeconfig, "--namespace", RELEASE]
    yield lambda *argv: run([*command, *argv])
    plane.kubectl("delete", "queueclass", "synthesis", "--ignore-not-found")


def test_a_lane_that_is_there_is_left_alone_by_install_upgrade_and_uninstall(
    plane: ControlPlane, helm: Helm
) -> None:
    lane = partial(_spec, plane)
    upgrade = partial(helm, "upgrade", "--install", RELEASE, str(REPOSITORY / "charts/pilothouse"))
    settings = ("--create-namespace", "--set=replicas=0,licenses.admission=false")

    upgrade(*settings)
    assert lane("completion")["objectives"] == LANE["spec"]["objectives"]
    assert lane("synthesis")["concurrency"]["onFull"] == "Wait"

    plane.kubectl("patch", "queueclass", "synthesis", "--type=merge", '--patch={"spec":{"drain":"7m"}}')
    for _ in range(2):
        upgrade(*settings)
        assert lane("synthesis")["drain"] == "7m"

    helm("uninstall", RELEASE)
    assert lane("synthesis")["drain"] == "7m"


def _spec(plane: ControlPlane, name: str) -> Any:
    return json.loads(plane.kubectl("get", "queueclass", name, "--output=json"))["spec"]
