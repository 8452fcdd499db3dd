"""The process: checks, the load, the HTTP server, and the way down after SIGTERM.

As in vLLM the port is bound at once, but nothing listens on it before the model is loaded; after SIGTERM the
port stays open and /health healthy until what runs has ended.
"""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import time

import uvicorn
from fastapi import FastAPI

from harness.vllm_sim import VLLM_VERSION, errors, middleware
from harness.vllm_sim.api import Api
from harness.vllm_sim.config import EngineConfig, engine_config
from harness.vllm_sim.engine import OUT_OF_MEMORY, Costs, Engine, crash
from harness.vllm_sim.faults import Faults
from harness.vllm_sim.instrumentator import HttpMetrics, Instrumentator
from harness.vllm_sim.metrics import Metrics

log = logging.getLogger("vllm.launcher")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (the one that vLLM uses)
SHARED_MEMORY_MIB = 160
MIB = 1 << 20


def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM; raises what vLLM raises for flags that do not fit together."""
    _log_to_stdout()
    signal.signal(signal.SIGTERM, _interrupt)
    config = engine_config(args)
    log.info("vLLM server version %s, serving model %s", VLLM_VERSION, config.model)
    listener = _bind(args)
    faults = Faults.from_environment()
    _check_shared_memory()
    _load(config, args, faults)
    asyncio.run(_run(config, args, faults, listener))


def _log_to_stdout() -> None:
    form = f"(APIServer pid={os.getpid()}) %(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format=form, datefmt="%m-%d %H:%M:%S")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt("terminated")


def _bind(args: argparse.Namespace) -> socket.socket:
    if args.uds:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(args.uds)
        return listener
    family = socket.AF_INET6 if ":" in (args.host or "") else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((args.host or "", args.port))
    return listener


def _check_shared_memory() -> None:
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < SHARED_MEMORY_MIB * MIB:
        raise RuntimeError(
            f"Insufficient space in {SHARED_MEMORY} for shared-memory allocation: "
            f"{SHARED_MEMORY_MIB} MiB required, {free / MIB:.0f} MiB free. Increase {SHARED_MEMORY} "
            "(e.g. --shm-size or --ipc=host)."
        )


def _load(config: EngineConfig, args: argparse.Namespace, faults: Faults) -> None:
    """Take as long as a load takes, or fail as one does."""
    log.info("Starting to load model %s, revision %s...", config.model, args.revision or "main")
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


async def _run(
    config: EngineConfig, args: argparse.Namespace, faults: Faults, listener: socket.socket
) -> None:
    engine = Engine(config, Costs.from_environment(), Metrics(config, config.name), faults)
    server = uvicorn.Server(_uvicorn_config(_app(engine, args), args))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    steps = asyncio.create_task(engine.run())
    # Uvicorn would stop listening at the signal; vLLM does so only when the engine has stopped.
    serving = asyncio.create_task(server._serve([listener]))  # noqa: SLF001
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log.info("Starting vLLM server on http://%s:%d", args.host or "0.0.0.0", args.port)  # noqa: S104
    await stopping.wait()
    mode = "drain" if config.shutdown_timeout else "abort"
    log.info(
        "[shutdown] API server: stopping engine client mode=%s timeout=%ds", mode, config.shutdown_timeout
    )
    await engine.drain(config.shutdown_timeout)
    steps.cancel()
    server.should_exit = True
    await serving


def _app(engine: Engine, args: argparse.Namespace) -> FastAPI:
    app = FastAPI(
        root_path=args.root_path or "", openapi_url=None if args.disable_fastapi_docs else "/openapi.json"
    )
    Api(engine, args).add_to(app)
    errors.install(app)
    app.add_middleware(Instrumentator, metrics=HttpMetrics(engine.metrics.registry), routes=app.routes)
    middleware.install(app, args)
    return app


def _uvicorn_config(app: FastAPI, args: argparse.Namespace) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level=args.uvicorn_log_level,
        access_log=not args.disable_uvicorn_access_log,
        timeout_keep_alive=int(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5")),
        ssl_keyfile=args.ssl_keyfile,
        ssl_certfile=args.ssl_certfile,
        h11_max_incomplete_event_size=args.h11_max_incomplete_event_size,
    )
