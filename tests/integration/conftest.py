"""What the tests of the API need in the cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.kubectl import tool
from harness.paths import REPOSITORY
from harness.shell import run, succeeds

CRDS = str(REPOSITORY / "crds")
CHART = REPOSITORY / "charts/pilothouse"


@pytest.fixture(scope="session")
def crds(kubectl: Callable[..., str]) -> None:
    """Install the CRDs as they are in the working tree."""
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", CRDS)


@pytest.fixture(scope="module")
def operator(kubeconfig: Path) -> Iterator[None]:
    """Use the operator that is installed; without one, bring the chart's and take it away again."""
    helm = [tool("helm"), "--kubeconfig", kubeconfig, "--namespace", "pilothouse-system"]
    if succeeds([*helm, "status", "pilothouse"]):
        yield
        return
    run([*helm, "install", "pilothouse", CHART, "--create-namespace", "--wait", "--timeout=3m"])
    yield
    run([*helm, "uninstall", "pilothouse", "--wait"])
