"""The operator as its users have it, from the chart with two replicas, and teams that use it: fixtures."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from e2e.installed import NAMESPACE, Operator
from e2e.manifests import Object, queue_class, rollout_policy
from e2e.stage import Stage, stage
from e2e.team import Team
from harness.hub_service import CHART_VALUE
from harness.kubectl import tool
from harness.paths import REPOSITORY
from harness.shell import run, succeeds, wait_for
from turns import in_common

Kubectl = Callable[..., str]
Staged = Callable[[Object, Object], AbstractAsyncContextManager[Stage]]


@pytest.fixture(scope="session")
def operator(common: Path, kubeconfig: Path, kubectl: Kubectl) -> Iterator[Operator]:
    """Install the chart, and take away what was not there: other tests bring their own operator."""
    installed = Operator(kubectl)
    helm = [tool("helm"), "--kubeconfig", kubeconfig, "--namespace", NAMESPACE]
    make = partial(install, helm, installed)
    with in_common(common / "operator", make, lambda: run([*helm, "uninstall", "pilothouse", "--wait"])):
        yield installed


def install(helm: Sequence[str | Path], installed: Operator) -> bool:
    """Have the chart and the image of today; tell whether there was none before."""
    found = succeeds([*helm, "status", "pilothouse"])
    # helm leaves CRDs that exist as they are.
    installed.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(REPOSITORY / "crds"))
    chart = REPOSITORY / "charts/pilothouse"
    waiting = ("--create-namespace", "--wait", "--timeout=3m")
    run([*helm, "upgrade", "--install", "pilothouse", chart, CHART_VALUE, *waiting])
    if found:
        installed.restart()
    return not found


@pytest.fixture(scope="session")
def staged(operator: Operator, kubeconfig: Path, gateway_url: str) -> Staged:
    """`staged(policy, lane)` makes a stage for rollouts, once there is an operator."""
    assert operator.pods()
    return partial(stage, kubeconfig, gateway_url)


@pytest.fixture(scope="session")
def lane(operator: Operator, kubectl: Kubectl) -> Iterator[str]:
    """A QueueClass and a RolloutPolicy of this run's own, once there is an operator that heeds them."""
    assert operator.pods()
    name = f"lane-{uuid4().hex[:8]}"
    for made in (queue_class(name), rollout_policy(name)):
        kubectl("apply", "--filename=-", input=json.dumps(made))
    yield name
    kubectl("delete", f"queueclass/{name}", f"rolloutpolicy/{name}")


@pytest.fixture(scope="session")
def teams(kubectl: Kubectl, lane: str) -> Iterator[Callable[[], Team]]:
    """Make namespaces for tests; their deletion is begun in the end and not waited for."""
    made: list[str] = []

    def new() -> Team:
        made.append(f"team-{uuid4().hex[:8]}")
        kubectl("create", "namespace", made[-1])
        return Team(kubectl, made[-1], lane)

    yield new
    kubectl("delete", "namespace", "--wait=false", *made)


@pytest.fixture
def away(operator: Operator) -> Iterator[Callable[[], None]]:
    """No operator, until it is called back."""

    def back() -> None:
        operator.kubectl("scale", "deployment/pilothouse", "--replicas=2")
        operator.kubectl("rollout", "status", "deployment/pilothouse", "--timeout=3m")

    operator.kubectl("scale", "deployment/pilothouse", "--replicas=0")
    wait_for("the operator to be gone", lambda: not operator.pods(), seconds=120)
    yield back
    back()
