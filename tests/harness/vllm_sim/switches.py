"""/sim/faults, the only route that vLLM lacks: outside of all middleware, so that no guard closes it."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.vllm_sim import errors
from harness.vllm_sim.engine import Engine
from harness.vllm_sim.faults import Faults

PATH = "/sim/faults"


class Switches:
    """Breaks and mends the engine as tests ask for, and lets everything else through."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine
        self._own = FastAPI(openapi_url=None)
        self._own.add_api_route(PATH, self._faults, methods=["GET"])
        self._own.add_api_route(PATH, self._set_faults, methods=["POST"])
        self._own.add_api_route(PATH, self._clear_faults, methods=["DELETE"])
        errors.install(self._own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        app = self._own if scope.get("path") == PATH else self._app
        await app(scope, receive, send)

    async def _faults(self) -> Faults:
        """What is wrong at the moment."""
        return self._engine.faults

    async def _set_faults(self, faults: Faults) -> Faults:
        """Break exactly this from now on."""
        self._engine.set_faults(faults)
        return faults

    async def _clear_faults(self) -> Faults:
        """Mend everything."""
        return await self._set_faults(Faults())
