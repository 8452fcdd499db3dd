"""A control plane for all tests of this folder, a namespace for each, and operators that end with it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import Team

SYSTEM = "pilothouse-system"
StartOperator = Callable[..., OperatorProcess]

LANE = {
    "apiVersion": "pilothouse.dev/v1alpha1",
    "kind": "QueueClass",
    "metadata": {"name": "completion"},
    "spec": {
        "priority": 1000,
        "requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"},
        "concurrency": {"perReplica": 64, "queuedPerReplica": 32},
        "drain": "30s",
        "objectives": [{"metric": "Success", "ratio": 0.995}],
    },
}


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the Gateway API, our CRDs, the chart's rights and the lane `completion`."""
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        plane.install_gateway_api()
        (plane.folder / "operator").write_text(plane.kubeconfig_for(plane.install_chart_rights(SYSTEM)))
        plane.kubectl("apply", "--filename=-", stdin=json.dumps(LANE))
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def start_operator(plane: ControlPlane, tmp_path: Path) -> Iterator[StartOperator]:
    """`start_operator(identity="a", **settings)` starts a replica under the chart's rights."""
    with starting(plane, tmp_path) as start:
        yield start


@contextmanager
def starting(plane: ControlPlane, logs: Path) -> Iterator[StartOperator]:
    """Start replicas; those that still run in the end are stopped."""
    started: list[OperatorProcess] = []

    def start(identity: str = "a", **settings: str) -> OperatorProcess:
        log = logs / f"{identity}-{len(started)}.log"
        operator = OperatorProcess(plane.folder / "operator", identity, log, settings)
        started.append(operator)
        return operator.start()

    yield start
    for operator in started:
        if operator.is_running:
            operator.terminate()


@pytest.fixture
def operator(start_operator: StartOperator) -> OperatorProcess:
    """One replica that leads."""
    return start_operator().wait_ready().wait_leading()


@pytest.fixture
def team(plane: ControlPlane) -> Iterator[Team]:
    """A namespace, with what a team does in it; its ModelDeployments are gone before the next test."""
    team = Team(plane, f"team-{uuid4().hex[:8]}")
    team.create_namespace()
    yield team
    team.delete_all()
