"""An engine with the guard in its process: the guard's settings, which a test may change, and its lines."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp

from contract.asking import Object
from contract.engine import COMMON_FLAGS, TESTS, Engine, Kind
from contract.waiting import until
from harness.logs import generations
from pilothouse.plan.probes import PROBES

GUARD = TESTS.parent / "operator/pilothouse/guard"
FLAGS = ("--enable-request-id-headers", "--middleware=pilothouse_guard.Guard")
PINS = {
    "x-pilothouse-revision": "7f3a9c1d20",
    "x-model-revision": "c0ffee",
    "x-tokenizer-revision": "7ea",
    "x-license-id": "Apache-2.0",
}
IDENTITY = {
    "revision": "7f3a9c1d20",
    "modelRevision": "c0ffee",
    "tokenizerRevision": "7ea",
    "licenseID": "Apache-2.0",
}
REQUESTS = {"maxInputTokens": 1000, "maxOutputTokens": 15_000, "timeoutSeconds": 60}
PLACES = 4
METERED = "metered"
OUTPUT_PER_MINUTE = 10
"""What the tenant METERED may have written for it."""


class Guarded(Engine):
    """The process, and a folder of its own with the guard's files."""

    def __init__(self, kind: Kind, folder: Path, *flags: str, **requests: object) -> None:
        """Start the process; `requests` are limits that differ from REQUESTS."""
        self._folder = folder
        for name in ("pilothouse_guard.py", "credentials.json"):
            shutil.copy(GUARD / name, folder)
        (folder / "probes.json").write_text(json.dumps(PROBES))
        self._write(requests)
        environment = {
            **kind.environment,
            "PYTHONPATH": f"{TESTS}:{folder}",
            "PILOTHOUSE_SETTINGS": str(folder / "settings.json"),
        }
        own = replace(kind, environment=environment)
        super().__init__(own, (*COMMON_FLAGS, *FLAGS, *flags), folder / "log")

    @asynccontextmanager
    async def settled(self, http: aiohttp.ClientSession, **requests: object) -> AsyncIterator[None]:
        """Have other limits in force for a while."""
        await self._settle(http, requests)
        try:
            yield
        finally:
            await self._settle(http, {})

    async def line(self, request_id: str) -> Object:
        """Wait for the line of a request, and return it: the only one."""
        found: list[Object] = []

        async def logged() -> bool:
            told = generations(self.output())
            found[:] = [line for line in told if line["requestId"] == request_id]
            return bool(found)

        await until(logged, f"the line of {request_id}")
        (line,) = found
        return line

    async def _settle(self, http: aiohttp.ClientSession, requests: Object) -> None:
        before = await self._settings(http)
        self._write(requests)

        async def changed() -> bool:
            return await self._settings(http) != before

        await until(changed, "the changed settings")

    async def _settings(self, http: aiohttp.ClientSession) -> str:
        async with http.get(f"{self.url}/pilothouse/about") as answer:
            digest: str = (await answer.json())["settings"]
            return digest

    def _write(self, requests: Object) -> None:
        """Write settings.json at once, as the kubelet does."""
        settings = {
            "identity": IDENTITY,
            "requests": REQUESTS | requests,
            "concurrency": {"perReplica": PLACES},
            "tenants": {METERED: {"perMinute": {"inputTokens": 1e6, "outputTokens": OUTPUT_PER_MINUTE}}},
        }
        (self._folder / "next.json").write_text(json.dumps(settings))
        (self._folder / "next.json").replace(self._folder / "settings.json")
