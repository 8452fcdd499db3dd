"""What an engine counts itself, asked at its pod's own address."""

import aiohttp

from pilothouse.names import ENGINE_PORT

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
QUEUED = "vllm:request_queue_time_seconds_count"
"""Requests that have been in the engine's queue and left it."""


async def counts(address: str, *names: str) -> dict[str, float]:
    """Return the sum of each metric's samples."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}:{ENGINE_PORT}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {name: sum(_values(lines, name)) for name in names}


def _values(lines: list[str], name: str) -> list[float]:
    return [float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
