"""What an engine counts itself, asked at its pod's own address."""

import json

import aiohttp

from harness.metrics import parse
from pilothouse.names import ENGINE_PORT, GuardPath

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
QUEUED = "vllm:request_queue_time_seconds_count"
"""Requests that have been in the engine's queue and left it."""


async def counts(address: str, *names: str) -> dict[str, float]:
    """Return the sum of each metric's samples."""
    found = parse(await _page(address, "/metrics"))
    return {name: found.value(name) for name in names}


async def settings_of(address: str) -> str:
    """Return the digest of the settings that a pod's guard holds requests to."""
    return str(json.loads(await _page(address, GuardPath.ABOUT))["settings"])


async def _page(address: str, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}:{ENGINE_PORT}{path}") as answer:
        answer.raise_for_status()
        return await answer.text()
