"""A deleted model leaves nothing behind, and is not brought back by an operator that heals."""

import pytest

from e2e.manifests import model_deployment
from e2e.team import Team

MODES = ("background", "foreground")


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.apply(*(model_deployment(mode, team.namespace, team.lane) for mode in MODES))
    team.wait_ready(*MODES)
    for mode in MODES:
        assert team.children(mode)
        team.kubectl("delete", "md", mode, f"--cascade={mode}", "--wait=false")


@pytest.mark.parametrize("mode", MODES)
def test_deletion_leaves_nothing(team: Team, mode: str) -> None:
    team.wait_gone(mode)
