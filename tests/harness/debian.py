"""The programs that come from Debian."""

import shutil
import subprocess
import sys
from collections.abc import Sequence

from harness.paths import HARNESS
from harness.shell import HarnessError

SCRIPT = HARNESS / "debian.sh"


def install(programs: Sequence[str]) -> None:
    """Install the packages of the programs that are missing; the script says which.

    Raises:
        HarnessError: the machine has no apt, or the script failed; its own words were shown on stderr.

    """
    if shutil.which("apt-get") is None:
        raise HarnessError(
            f"The harness takes {', '.join(programs)} from Debian, and this machine has no apt-get."
        )
    if subprocess.run([SCRIPT, *programs], stdout=sys.stderr, check=False).returncode != 0:
        raise HarnessError(f"Installing Debian packages failed; {SCRIPT.name}'s own words are above.")
