"""kubectl, as the harness and the tests call it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from harness.paths import BIN
from harness.shell import HarnessError, run


def kubectl(kubeconfig: Path, *argv: str, stdin: str | None = None) -> str:
    """Run kubectl against the cluster of a kubeconfig and return its stdout.

    Raises:
        HarnessError: kubectl is missing or failed; its stderr is in the message.

    """
    return run([tool("kubectl"), "--kubeconfig", kubeconfig, *argv], stdin=stdin)


def kubeconfig_for(server: str, authority: Path, token: str) -> str:
    """Write a kubeconfig for the bearer of a token; `authority` is a file with certificates."""
    cluster = {"server": server, "certificate-authority": str(authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    return json.dumps(content)


def tool(name: str) -> str:
    """Return the path of kubectl or helm: the harness's own build, else the one on PATH."""
    found = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}")
    if found is None:
        raise HarnessError(f"{name} is neither in {BIN} nor on PATH.")
    return found


def get(kubeconfig: Path, *argv: str) -> list[dict[str, Any]]:
    """Return the objects that `kubectl get` lists."""
    items: list[dict[str, Any]] = json.loads(kubectl(kubeconfig, "get", *argv, "--output=json"))["items"]
    return items
