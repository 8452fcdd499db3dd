"""The demo as people run it, on the cluster of the tests."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.paths import REPOSITORY

# The demo upgrades the operator.
pytestmark = pytest.mark.alone


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


@pytest.mark.timeout(900)
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


def test_the_demo_sees_a_slow_revision_lose_its_traffic_by_its_measurements(shown: str) -> None:
    rolled_back = shown.partition("\n7. ")[2].partition("\n8. ")[0]

    assert 0 < max(_weights(rolled_back)) < 100
    assert re.search(r"^CheckFailed: \w{10} gave its traffic back to \w{10} at ", rolled_back, re.MULTILINE)
    assert re.search(r"^  time-to-first-token: canary .+, stable .+, threshold", rolled_back, re.MULTILINE)


def test_the_demo_sees_a_good_revision_earn_all_traffic(shown: str) -> None:
    promoted = shown.partition("\n8. ")[2]

    assert {0, 30, 50, 100} <= set(_weights(promoted))
    assert _weights(promoted) == sorted(_weights(promoted))
    assert re.findall(r"^([a-z-]+) +Pass ", promoted, re.MULTILINE) == ["time-to-first-token", "success"]


def test_no_caller_of_the_demo_notices(shown: str) -> None:
    assert re.search(r"\d{3,} requests in \d+ s, \d+ of them streams: 0 failed\.", shown)


def _weights(shown: str) -> list[int]:
    """Give the canary's weights that were shown, in order."""
    return list(dict.fromkeys(int(weight) for weight in re.findall(r"canary +(\d+) %", shown)))
