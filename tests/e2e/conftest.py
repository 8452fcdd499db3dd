"""What the tests of this folder share: the installed operator, a team for each file, and time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.fixtures import away, lane, operator, staged, teams
from e2e.program import Pilothouse, Said
from e2e.program import pilothouse as program
from e2e.team import Team

__all__ = ["away", "lane", "operator", "staged", "teams"]


@pytest.fixture(scope="module")
def team(teams: Callable[[], Team]) -> Iterator[Team]:
    """A namespace that the tests of one file share; its pods make room for those of the next file."""
    team = teams()
    yield team
    team.kubectl("delete", "md", "--all", "--wait=false")


@pytest.fixture(scope="module")
def pilothouse(kubeconfig: Path, hub_url: str, team: Team) -> Pilothouse:
    """`pilothouse(*argv)` runs the program as the cluster's admin, in the team's namespace."""

    def call(word: str, *argv: str) -> Said:
        where = () if word == "pin" else ("--namespace", team.namespace)
        return program(kubeconfig, hub_url, word, *where, *argv)

    return call
