"""Fixtures for tests on a real Kubernetes: the cluster is started when the first test asks for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness import cluster, gateway
from harness import kubectl as tool

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of the cluster that KUBECONFIG names, else of the harness's own."""
    return cluster.up()


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """`kubectl(*argv, input=None)`: returns stdout, raises HarnessError with stderr."""

    def call(*argv: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        return tool.kubectl(kubeconfig, *argv, stdin=input)

    return call


@pytest.fixture(scope="session")
def gateway_url(kubeconfig: Path) -> str:
    """The base URL of the Gateway `models`."""
    return gateway.url(kubeconfig)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own; its deletion is begun and not waited for."""
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
