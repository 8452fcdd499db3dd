"""Where the harness keeps things."""

import os
from pathlib import Path

HARNESS = Path(__file__).parent
REPOSITORY = HARNESS.parent.parent
GO_MODULES = HARNESS / "go"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilothouse"
BUILDS = CACHE / "builds"
BIN = CACHE / "bin"
IMAGES = CACHE / "images"
KUBECONFIG = CACHE / "cluster" / "kubeconfig"
LOCK = CACHE / "harness.lock"

# Short, because a Unix socket's path ends at 107 characters; fixed, because there is one ph0 on a machine.
STATE = Path("/var/lib/pilothouse")
