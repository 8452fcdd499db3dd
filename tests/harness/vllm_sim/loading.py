"""What happens before the port listens: the check of /dev/shm, and the time that a model takes to load."""

import logging
import os
import shutil
import time
from pathlib import Path

from harness.vllm_sim.config import EngineConfig
from harness.vllm_sim.engine import OUT_OF_MEMORY, crash
from harness.vllm_sim.faults import Faults

log = logging.getLogger("vllm.loader")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (the one that vLLM uses)
SHARED_MEMORY_MIB = 160
MIB = 1 << 20


def check_shared_memory() -> None:
    """Raise RuntimeError where there is too little for the engine's processes to talk through."""
    if not Path(SHARED_MEMORY).is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < SHARED_MEMORY_MIB * MIB:
        raise RuntimeError(
            f"Insufficient space in {SHARED_MEMORY} for shared-memory allocation: "
            f"{SHARED_MEMORY_MIB} MiB required, {free / MIB:.0f} MiB free. Increase {SHARED_MEMORY} "
            "(e.g. --shm-size or --ipc=host)."
        )


def load(config: EngineConfig, revision: str, faults: Faults) -> None:
    """Take as long as a load takes, or fail as one does."""
    log.info("Starting to load model %s, revision %s...", config.model, revision)
    seconds = faults.load_seconds
    started = time.monotonic()
    time.sleep(float(os.environ.get("VLLM_SIM_LOAD_SECONDS", "0.5")) if seconds is None else seconds)
    if faults.out_of_memory:
        crash(OUT_OF_MEMORY)
    if faults.crash_at_load:
        crash("EngineCore failed to start.")
    log.info("Model loading took %.2f seconds", time.monotonic() - started)
    tokens = config.limits.num_blocks * config.limits.block_size
    log.info("GPU KV cache size: %s tokens", f"{tokens:,}")
