"""What somebody made of a guard's settings while the operator was away is found, until it is put back."""

import json
from collections.abc import Callable

import pytest

from e2e.program import DIFFERS, Pilothouse, findings, of_pod
from e2e.team import DEADLINE, Team
from harness.shell import wait_for

# It takes the operator away from everybody.
pytestmark = pytest.mark.alone

NAME = "served"
SETTINGS = "settings.json"
LOOSENED = "settings.requests.maxOutputTokens"


@pytest.fixture
def config_map(team: Team) -> str:
    """The ConfigMap of a model that serves, by its name."""
    team.apply(team.model(NAME))
    team.wait_ready(NAME)
    return team.child(NAME)


def settings_of(team: Team, config_map: str) -> str:
    return str(team.get("configmap", config_map)["data"][SETTINGS])


def differing(pilothouse: Pilothouse) -> set[str]:
    return findings(of_pod(pilothouse("verify", NAME, "--output=json"), NAME))


def wait_for_the_pod(team: Team, pilothouse: Pilothouse, expected: set[str]) -> None:
    """Wait until the pod holds to its ConfigMap: the kubelet looks at it anew when the pod has changed."""
    [pod] = team.pods(NAME)
    team.kubectl("annotate", "--overwrite", f"pod/{pod['metadata']['name']}", f"look={len(expected)}")
    wait_for("the pod", lambda: differing(pilothouse) == expected, seconds=DEADLINE, pause=1)


def test_settings_that_were_tampered_with_are_found_until_the_operator_puts_them_back(
    config_map: str, away: Callable[[], None], pilothouse: Pilothouse, team: Team
) -> None:
    assert pilothouse("verify", NAME).returncode == 0
    declared = settings_of(team, config_map)
    loose = json.loads(declared)
    most = loose["requests"]["maxOutputTokens"]
    loose["requests"]["maxOutputTokens"] = most + 1
    patch = json.dumps({"data": {SETTINGS: json.dumps(loose)}})
    team.kubectl("patch", "configmap", config_map, "--type=merge", f"--patch={patch}")

    said = pilothouse("verify", NAME)
    assert said.returncode == DIFFERS
    [line] = [line.split() for line in said.stdout.splitlines() if LOOSENED in line]
    assert line[1:5] == [LOOSENED, "Differs", str(most), str(most + 1)]
    wait_for_the_pod(team, pilothouse, {LOOSENED})
    assert pilothouse("verify", NAME).returncode == DIFFERS

    away()
    wait_for("what was declared", lambda: settings_of(team, config_map) == declared, seconds=DEADLINE)
    wait_for_the_pod(team, pilothouse, set())
    assert pilothouse("verify", NAME).returncode == 0
