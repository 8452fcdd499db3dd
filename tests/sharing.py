"""How test processes share the files: those that run alone follow one another in one process.

The others go on meanwhile with what needs no cluster, where they would otherwise wait for their turn.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

ALONE = "alone"


class Sharing(LoadFileScheduling):
    """Hands out one file after the other, and all files that run alone at once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return ALONE if _runs_alone(self.config.rootpath / file) else file


@cache
def _runs_alone(file: Path) -> bool:
    """Read it from the file: the process that hands out the files does not import them."""
    return f"pytest.mark.{ALONE}" in file.read_text()
