"""Test processes that use one cluster at the same time: who waits for whom, and what they have in common."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.shell import alone

MINE = "mine"


@contextmanager
def among_others(lock: Path) -> Iterator[None]:
    """Hold the lock together with all others who do; whoever wants it alone waits."""
    with _held(lock, fcntl.LOCK_SH):
        yield


@contextmanager
def by_itself(lock: Path) -> Iterator[None]:
    """Hold the lock alone, as soon as nobody else holds it."""
    with _held(lock, fcntl.LOCK_EX):
        yield


@contextmanager
def in_common(place: Path, make: Callable[[], bool], remove: Callable[[], None]) -> Iterator[None]:
    """Use something that the first process to come makes; the last to go removes it, if `make` said to.

    `place` names a file that all processes can reach.
    """
    door = place.with_suffix(".door")
    with place.open("a+") as file:
        with alone(door):
            if _is_only_user(file):
                place.write_text(MINE if make() else "")
            fcntl.flock(file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with alone(door):
                if _is_only_user(file) and place.read_text() == MINE:
                    remove()


@contextmanager
def _held(lock: Path, how: int) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, how)
        yield


def _is_only_user(file: IO[str]) -> bool:
    """Tell whether no other process holds the file's lock; this one's is lost or exclusive afterwards."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
