"""What the tests of the API need in the cluster."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from e2e.fixtures import operator
from harness.api import Api, connect
from harness.paths import REPOSITORY

__all__ = ["operator"]

CRDS = str(REPOSITORY / "crds")


@pytest.fixture(scope="session")
def crds(kubectl: Callable[..., str]) -> None:
    """Install the CRDs as they are in the working tree."""
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", CRDS)


@pytest.fixture
async def api(kubeconfig: Path) -> AsyncIterator[Api]:
    """A connection to the API server."""
    async with connect(kubeconfig) as api:
        yield api
