"""The process of `vllm serve`, from its start to its end after SIGTERM.

As in vLLM the port is bound at once, but nothing listens on it before the model is loaded; after SIGTERM the
port stays open and /health healthy until what runs has ended. It runs on uvloop, and uvicorn parses with
httptools, which it finds as it does in vLLM's image.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from fastapi import FastAPI

from harness.vllm_sim import VLLM_VERSION, loading
from harness.vllm_sim.app import build_app
from harness.vllm_sim.config import EngineConfig, engine_config
from harness.vllm_sim.engine import Costs, Engine
from harness.vllm_sim.faults import Faults
from harness.vllm_sim.metrics import Metrics

log = logging.getLogger("vllm.launcher")


def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM; raises what vLLM raises for flags that do not fit together."""
    _log_to_stdout()
    signal.signal(signal.SIGTERM, _interrupt)
    config = engine_config(args)
    log.info("vLLM server version %s, serving model %s", VLLM_VERSION, config.model)
    listener = _bind(args)
    faults = Faults.from_environment()
    loading.check_shared_memory()
    loading.load(config, args.revision or "main", faults)
    uvloop.run(_run(config, args, faults, listener))


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


class _Server(uvicorn.Server):
    """Uvicorn would stop listening at a signal; vLLM does so only when the engine has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(
    config: EngineConfig, args: argparse.Namespace, faults: Faults, listener: socket.socket
) -> None:
    engine = Engine(config, Costs.from_environment(), Metrics(config), faults)
    server = _Server(_uvicorn_config(build_app(engine, args), args))
    log.info("Starting vLLM server on http://%s:%d", args.host or "0.0.0.0", args.port)  # noqa: S104
    stopping = asyncio.create_task(_signalled())
    steps = asyncio.create_task(engine.run())
    serving = asyncio.create_task(server.serve([listener]))
    ended, _ = await asyncio.wait({stopping, steps, serving}, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    mode = "drain" if config.shutdown_timeout else "abort"
    log.info("[shutdown] engine: stopping mode=%s timeout=%ds", mode, config.shutdown_timeout)
    await engine.drain(config.shutdown_timeout)
    steps.cancel()
    server.should_exit = True
    await serving


async def _signalled() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


def _uvicorn_config(app: FastAPI, args: argparse.Namespace) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_level=args.uvicorn_log_level,
        access_log=not args.disable_uvicorn_access_log,
        timeout_keep_alive=int(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5")),
        ssl_keyfile=args.ssl_keyfile,
        ssl_certfile=args.ssl_certfile,
        h11_max_incomplete_event_size=args.h11_max_incomplete_event_size,
    )
    quiet = (args.disable_access_log_for_endpoints or "").split(",")
    logging.getLogger("uvicorn.access").addFilter(lambda record: _requested_path(record) not in quiet)
    return config


def _requested_path(access: logging.LogRecord) -> str:
    """The path in a line like `1.2.3.4:5 - "GET /health?x=1 HTTP/1.1" 200`."""
    return access.getMessage().split('"')[1].split(" ")[1].partition("?")[0]
