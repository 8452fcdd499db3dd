"""These tests start and remove this machine's own cluster, so they need a machine where none runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import builds, cluster, components, debian, firewall, images, kind, node
from harness.paths import STATE
from harness_tests.footprint import Footprint, footprint


@pytest.fixture(scope="session", autouse=True)
def pause() -> Path:
    """The archive of the pause image, on a machine where a cluster may come and go."""
    if cluster.given() or kind.is_possible() or node.refusal():
        pytest.skip("The cluster is not made of this machine's processes.")
    if STATE.exists():
        pytest.exit(
            "A cluster runs, and these tests would end it: `make cluster-down` comes first.", returncode=1
        )
    debian.install(node.PROGRAMS)
    builds.build_all()
    firewall.prepare()
    return images.build(next(image for image in images.images() if image.name == components.PAUSE))


@pytest.fixture
def before() -> Footprint:
    """The machine before the test."""
    return footprint()


@pytest.fixture
def running(before: Footprint, pause: Path) -> Iterator[None]:  # noqa: ARG001 - looked at before the start
    """A cluster with the pause image, removed after the test."""
    try:
        node.start()
        cluster.give_gpus()
        node.load(pause)
        yield
    finally:
        node.stop()
