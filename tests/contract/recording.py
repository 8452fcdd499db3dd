"""What the real engine was seen to do, kept beside the tests; `--record` writes it anew."""

import json
from pathlib import Path
from typing import Any

from harness.real_vllm import paths

DATA = Path(__file__).with_name("data")


class Recording:
    """One file of named facts."""

    def __init__(self, name: str, *, writing: bool) -> None:
        self._path = DATA / f"{name}-{paths.VERSION}.json"
        self._writing = writing

    def check(self, name: str, seen: object) -> None:
        """Assert that what was seen is what was recorded, or record it."""
        if self._writing:
            facts = self._facts() | {name: seen}
            self._path.write_text(json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        assert seen == self.fact(name)

    def fact(self, name: str) -> Any:
        """Return what was seen."""
        return self._facts()[name]

    def _facts(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}
