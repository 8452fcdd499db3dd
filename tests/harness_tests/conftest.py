"""These tests start and remove this machine's own cluster, so they need a machine where none runs."""

from collections.abc import Iterator

import pytest

from harness import cluster, images, node
from harness.paths import STATE
from harness_tests.footprint import Footprint, footprint


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    """A machine on which this cluster may come and go."""
    if cluster.given() or cluster.provider() is not node:
        pytest.skip("The cluster is not made of this machine's processes.")
    if STATE.exists():
        pytest.exit(
            "A cluster runs, and these tests would end it: `make cluster-down` comes first.", returncode=1
        )
    cluster.build()


@pytest.fixture
def before(_machine: None) -> Footprint:
    """The machine before the test."""
    return footprint()


@pytest.fixture
def running(before: Footprint) -> Iterator[None]:  # noqa: ARG001 - looked at before the cluster starts
    """A cluster with the pause image, removed after the test."""
    node.start()
    cluster.give_gpus()
    pause, *_ = images.images()
    node.load(images.build(pause))
    yield
    node.stop()
