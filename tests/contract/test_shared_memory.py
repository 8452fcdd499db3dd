"""Without the shared memory that its processes need, as in a pod without a volume for it, an engine ends."""

import os
from collections.abc import Callable

import pytest

from contract.engine import Engine

WITH_64_MIB = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" "$@"',
)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small /dev/shm needs root")
def test_an_engine_does_not_start_with_64_mib_of_shared_memory(start: Callable[..., Engine]) -> None:
    # As for several GPUs.
    own_processes = "--distributed-executor-backend=mp"
    ended = start("--max-model-len", "1024", own_processes, wrapper=WITH_64_MIB).wait_ended()
    assert ended.code == 1
    assert "Insufficient space in /dev/shm" in ended.output
