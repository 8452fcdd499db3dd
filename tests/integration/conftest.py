"""What the tests of the API need in the cluster."""

from collections.abc import Callable
from pathlib import Path

import pytest

CRDS = str(Path(__file__).parents[2] / "crds")


@pytest.fixture(scope="session")
def crds(kubectl: Callable[..., str]) -> None:
    """Install the CRDs as they are in the working tree."""
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", CRDS)
