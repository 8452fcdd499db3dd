"""Running programs and waiting for what they bring about: what every other file of the harness needs."""

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SHOWN_OUTPUT = 2000
PROGRESS_SECONDS = 30
# Where Debian keeps ip and iptables, which a root by `su` does not have on PATH.
PATHS = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
# Cores are scarcer than memory: Go collects its garbage at five times what lives, or sooner at two gigabytes.
GARBAGE = {"GOGC": "400", "GOMEMLIMIT": "2GiB"}


class HarnessError(Exception):
    """The harness cannot go on; the message is one sentence for the person at the terminal."""


def say(text: str) -> None:
    """Show one line of progress on stderr."""
    sys.stderr.write(f"harness: {text}\n")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its stdout.

    `env` is added to the harness's own environment.

    Raises:
        HarnessError: the program is missing or failed; its stderr is in the message.

    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            env=os.environ | PATHS | GARBAGE | (env or {}),
            cwd=cwd,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise HarnessError(f"The program {argv[0]} is not installed.") from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()[-SHOWN_OUTPUT:]
        raise HarnessError(f"{' '.join(map(str, argv[:4]))} ended with status {done.returncode}: {output}")
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Tell whether a program is there and ends with status 0."""
    try:
        run(argv)
    except HarnessError:
        return False
    return True


def wait_for(what: str, condition: Callable[[], bool], *, seconds: float = 60, pause: float = 0.1) -> None:
    """Return as soon as `condition()` holds.

    Raises:
        HarnessError: it did not hold within `seconds`; the message names `what`.

    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HarnessError(f"Waited {seconds:.0f} s for {what}, in vain.")
        time.sleep(pause)


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Say that `what` has begun, every half minute that it goes on, and how long it took."""
    begin, ended = time.monotonic(), threading.Event()
    say(f"{what} ...")

    def repeat() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            say(f"{what}: {time.monotonic() - begin:.0f} s so far")

    threading.Thread(target=repeat, daemon=True).start()
    try:
        yield
        say(f"{what}: {time.monotonic() - begin:.0f} s")
    finally:
        ended.set()


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock`; another process that wants it waits."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
