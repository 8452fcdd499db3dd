"""On a network that enforces NetworkPolicies, engine pods are reached from the namespaces that are named."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from e2e.callers import status_of
from e2e.installed import NAMESPACE, Operator
from e2e.manifests import IMAGE, Object, model_deployment
from e2e.team import DEADLINE, Team
from harness import firewall
from harness.kubectl import tool
from harness.metrics import parse
from harness.paths import REPOSITORY
from harness.shell import run, wait_for
from pilothouse.names import ENGINE_PORT

# The firewall stands before all pods, and the chart's values are everybody's.
pytestmark = pytest.mark.alone

NAME = "fenced"
PROXIES = "envoy-gateway-system"
KNOCK = """
import socket, sys
for door in sys.argv[1:]:
    try:
        socket.create_connection(door.split(":"), timeout=5).close()
    except OSError:
        continue
    print(door)
"""
"""Prints the doors that open."""

Kubectl = Callable[..., str]
Only = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Model:
    """A model's pod, the ways to it inside of the cluster, and where the gateway serves it."""

    pod: Object
    doors: set[str]
    url: str


@pytest.fixture(scope="module", autouse=True)
def enforced(operator: Operator) -> Iterator[None]:
    assert operator.pods()
    with firewall.enforcing():
        yield


@pytest.fixture
def model(team: Team, gateway_url: str) -> Model:
    team.apply(model_deployment(NAME, team.namespace, team.lane))
    team.wait_ready(NAME)
    [pod] = team.pods(NAME)
    doors = {f"{pod['status']['podIP']}:{ENGINE_PORT}", f"{NAME}.{team.namespace}.svc:80"}
    return Model(pod, doors, f"{gateway_url}/{team.namespace}/{NAME}/v1")


@pytest.fixture
def stranger(kubectl: Kubectl, namespace: str) -> Kubectl:
    """Runs commands in a pod of a namespace that nobody names."""
    own = partial(kubectl, "--namespace", namespace)
    own("run", "stranger", f"--image={IMAGE}", "--command", "--", "sleep", "infinity")
    own("wait", "--for=condition=Ready", "pod/stranger", f"--timeout={DEADLINE}s")
    return partial(own, "exec", "stranger", "--")


@pytest.fixture
def only(kubeconfig: Path) -> Only:
    """Names a namespace in the chart's values while a block runs."""
    helm = [tool("helm"), "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "upgrade", "pilothouse"]
    upgrade = [*helm, REPOSITORY / "charts/pilothouse", "--reuse-values", "--wait", "--timeout=3m"]

    def name(*namespaces: str) -> None:
        run([*upgrade, f"--set-json=network.allowedNamespaces={json.dumps(namespaces)}"])

    @contextmanager
    def named(namespace: str) -> Iterator[None]:
        try:
            name(namespace)
            yield
        finally:
            name()

    return named


def opened(run_there: Kubectl, doors: set[str]) -> set[str]:
    """Return the doors that open to who knocks from a pod."""
    return set(run_there("python3", "-c", KNOCK, *doors).split())


def answered_probes(team: Team, pod: Object) -> int:
    """Count the probes of readiness that a pod has answered, as its kubelet does."""
    page = team.kubectl("get", "--raw", f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/metrics/probes")
    labels = {"pod_uid": pod["metadata"]["uid"], "probe_type": "Readiness", "result": "successful"}
    return int(parse(page).value("prober_probe_total", **labels))


def test_only_the_namespace_that_is_named_and_the_operators_reach_engines(
    team: Team, model: Model, stranger: Kubectl, operator: Operator, only: Only
) -> None:
    wait_for("all to reach it", lambda: opened(stranger, model.doors) == model.doors, seconds=DEADLINE)

    with only(PROXIES):
        wait_for("strangers to be kept out", lambda: not opened(stranger, model.doors), seconds=DEADLINE)
        probed = answered_probes(team, model.pod)

        assert asyncio.run(status_of(model.url)) == HTTPStatus.OK
        in_operator = partial(operator.kubectl, "exec", operator.pods()[0], "--")
        assert opened(in_operator, model.doors) == model.doors
        wait_for("probes to go on", lambda: answered_probes(team, model.pod) > probed + 1, seconds=DEADLINE)

    wait_for("all to reach it again", lambda: opened(stranger, model.doors) == model.doors, seconds=DEADLINE)
