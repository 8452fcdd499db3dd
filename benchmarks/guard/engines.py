"""An engine with the guard and one without, as processes of this machine."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copy
from typing import Any

from contract.engine import SIM, TESTS, Engine
from harness.paths import REPOSITORY
from pilothouse.names import Header

GUARD = REPOSITORY / "operator/pilothouse/guard"
MODEL = "code"
PLACES = 64
TENANT, USERS = "team-ide", 8
MAX_INPUT, MAX_OUTPUT = 8192, 256
COSTS = {
    "VLLM_SIM_DECODE_MS": "40",
    "VLLM_SIM_DECODE_MS_PER_SEQ": "0.1",
    "VLLM_SIM_PREFILL_US_PER_TOKEN": "2",
}
"""What a step of the engine takes: so slow that it is the engine, not its Python, that is saturated."""
Object = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """The same engine twice."""

    bare: Engine
    guarded: Engine


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Start both and wait until they serve; in the end they are killed."""
    guard = {**COSTS, **lay_out(folder), "PYTHONPATH": f"{TESTS}:{folder}"}
    flags = (
        *("--served-model-name", MODEL),
        *("--max-num-seqs", str(PLACES)),
        *("--max-model-len", str(MAX_INPUT + MAX_OUTPUT)),
        *("--max-num-batched-tokens", str(4 * MAX_INPUT)),
        "--disable-uvicorn-access-log",
        "--enable-request-id-headers",
    )
    with ExitStack() as stack:
        bare = Engine(replace(SIM, environment=COSTS), flags, folder / "bare.log")
        stack.callback(bare.kill)
        middleware = (*flags, "--middleware=pilothouse_guard.Guard")
        guarded = Engine(replace(SIM, environment=guard), middleware, folder / "guarded.log")
        stack.callback(guarded.kill)
        for engine in (bare, guarded):
            engine.wait_ready()
        yield Pair(bare, guarded)


def headers(number: int) -> Mapping[str, str]:
    """Return what the gateway says of a caller, and what the caller says of its prompt."""
    packed = {"segments": [{"name": "file", "tokens": 10}, {"name": "neighbours", "tokens": 0}]}
    return {
        Header.TENANT: TENANT,
        Header.USER: f"user-{number % USERS}",
        Header.REQUEST_ID: f"bench-{number}",
        Header.PACKING_TRACE: json.dumps(packed),
    }


def lay_out(folder: Path) -> Mapping[str, str]:
    """Write the files as a pod has them, and return the environment that leads there."""
    for name in ("pilothouse_guard.py", "credentials.json"):
        copy(GUARD / name, folder)
    (folder / "settings.json").write_text(json.dumps(_settings()))
    (folder / "key").write_bytes(os.urandom(32).hex().encode())
    return {
        "PILOTHOUSE_SETTINGS": str(folder / "settings.json"),
        "PILOTHOUSE_PROMPT_KEY": str(folder / "key"),
        "PILOTHOUSE_RUN": str(folder),
        "PILOTHOUSE_POD": "bench",
    }


def cpu_seconds(engine: Engine) -> float:
    """Return the CPU time of the engine's process."""
    fields = Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _settings() -> Object:
    """Return settings.json with every check on."""
    return {
        "version": 1,
        "identity": {
            "namespace": TENANT,
            "deployment": "qwen-coder",
            "revision": "7f3a9c1d20",
            "model": MODEL,
            "modelRevision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
            "tokenizerRevision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
            "licenseID": "Apache-2.0",
            "queueClass": "completion",
        },
        "requests": {
            "maxInputTokens": MAX_INPUT,
            "maxOutputTokens": MAX_OUTPUT,
            "timeoutSeconds": 120.0,
            "streaming": "Allowed",
            "secretScan": "Reject",
        },
        "concurrency": {
            "perReplica": PLACES,
            "queuedPerReplica": PLACES,
            "onFull": "Wait",
            "maxWaitSeconds": 30.0,
        },
        "tenants": {
            TENANT: {"concurrentRequests": 4 * PLACES, "perUserConcurrentRequests": 2 * PLACES},
        },
    }
