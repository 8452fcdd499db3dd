"""The Debian packages that the cluster runs."""

import subprocess
import sys

from harness.paths import HARNESS
from harness.shell import HarnessError

SCRIPT = HARNESS / "debian.sh"


def install() -> None:
    """Install the packages that are missing; the script says which.

    Raises:
        HarnessError: the script failed; its own words were shown on stderr.

    """
    if subprocess.run([SCRIPT], stdout=sys.stderr, check=False).returncode != 0:
        raise HarnessError(f"Installing Debian packages failed; {SCRIPT.name}'s own words are above.")
