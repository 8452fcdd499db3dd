"""The cluster's hub, and repositories that no other test uses, so that what goes wrong is each test's own."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlencode
from uuid import uuid4

from e2e.manifests import Object, model


@dataclass(frozen=True)
class Repository:
    """One repository of the hub at `url`."""

    url: str
    name: str

    @classmethod
    def fresh(cls, url: str) -> "Repository":
        """One that nobody has fetched."""
        return cls(url, f"team-{uuid4().hex[:8]}/model")

    def pinned(self, **fields: object) -> Object:
        """The model of the tests from this repository; `fields` of the checkpoint come on top."""
        checkpoint = model()["checkpoint"] | {"source": f"hf://{self.name}"} | fields
        return model() | {"checkpoint": checkpoint}

    def fault(self, **fault: object) -> None:
        """Have the hub do something wrong with it, or hold it otherwise: a Fault of harness/hub/faults.py."""
        self._send("POST", "", {"repository": self.name} | fault)

    def heal(self) -> None:
        """Have all be well with it."""
        self._send("DELETE", "?" + urlencode({"repository": self.name}), {})

    def asked(self, path: str) -> Object:
        """How many `heads` and `gets` there were of a file, at any commit."""
        with urllib.request.urlopen(f"{self.url}/_hub/requests", timeout=10) as answer:  # noqa: S310
            counts = json.load(answer)
        return {kind: sum(self._of(path, counts[kind])) for kind in ("heads", "gets")}

    def _of(self, path: str, counts: Object) -> Iterator[int]:
        return (count for place, count in counts.items() if fnmatchcase(place, f"{self.name}@*/{path}"))

    def _send(self, method: str, query: str, body: Object) -> None:
        head = {"Content-Type": "application/json"}
        address, data = f"{self.url}/_hub/faults{query}", json.dumps(body).encode()
        asked = urllib.request.Request(address, data, head, method=method)  # noqa: S310 -- the cluster's hub
        with urllib.request.urlopen(asked, timeout=10):  # noqa: S310
            pass
