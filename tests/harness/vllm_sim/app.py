"""The application: the routes, and around them what counts and guards them."""

import argparse

from fastapi import FastAPI

from harness.vllm_sim import errors, middleware
from harness.vllm_sim.api import Api
from harness.vllm_sim.engine import Engine
from harness.vllm_sim.instrumentator import HttpMetrics, Instrumentator
from harness.vllm_sim.switches import Switches


def build_app(engine: Engine, args: argparse.Namespace) -> FastAPI:
    """Build it; raises what a bad --middleware raises."""
    app = FastAPI(
        root_path=args.root_path or "", openapi_url=None if args.disable_fastapi_docs else "/openapi.json"
    )
    Api(engine, args).add_to(app)
    errors.install(app)
    app.add_middleware(Instrumentator, metrics=HttpMetrics(engine.metrics.registry), routes=app.routes)
    middleware.install(app, args)
    app.add_middleware(Switches, engine=engine)
    return app
