"""A hub with faults, and a node whose pods fetch from it with the real huggingface_hub."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetch.pod import Node
from harness.hub.thread import HubThread


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fetch-python",
        default=sys.executable,
        help="the Python that runs the fetch, e.g. one with another huggingface_hub",
    )


@pytest.fixture
def hub() -> Iterator[HubThread]:
    """A hub of the test's own."""
    running = HubThread()
    yield running
    running.stop()


@pytest.fixture
def node(hub: HubThread, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Node]:
    """A node of the test's own, led to the hub."""
    node = Node(tmp_path, pytestconfig.getoption("--fetch-python"), hub.url)
    yield node
    node.stop()
