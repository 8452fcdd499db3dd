"""The demo as people run it, on the cluster of the tests."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.paths import REPOSITORY


@pytest.fixture(scope="module")
def shown(kubeconfig: Path, kubectl: Callable[..., str]) -> Iterator[str]:
    """Run the demo once; what it served is removed in the end."""
    done = subprocess.run(
        [REPOSITORY / "scripts/demo"],
        env=os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": "operator:tests"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield done.stdout
    kubectl("delete", "--wait=false", f"--filename={REPOSITORY / 'examples/demo'}")


@pytest.mark.timeout(300)
def test_the_demo_streams_a_completion_through_the_gateway(shown: str) -> None:
    assert "HTTP/1.1 200 OK" in shown
    assert shown.count("data: {") == 8
    assert "data: [DONE]" in shown


def test_the_demo_shows_every_child_of_the_model(shown: str) -> None:
    kinds = ("deployment.apps", "service", "poddisruptionbudget.policy", "controllerrevision.apps", "pod")
    of_a_revision = re.findall(r"^(\S+)/qwen-coder-[0-9a-f]{10}", shown, re.MULTILINE)

    assert set(kinds) <= set(of_a_revision)
    assert "httproute.gateway.networking.k8s.io/qwen-coder" in shown


def test_the_demo_sees_what_was_broken_come_back(shown: str) -> None:
    times = re.findall(r"^The (\w+) is back after \d+ ms\.$", shown, re.MULTILINE)

    assert times == ["Deployment", "Service"]
