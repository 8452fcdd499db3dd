"""The engines of a benchmark, asked by their own addresses: who they are, and what goes wrong in them."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp

from e2e.traffic import Object, ask
from harness.api import Api

PORT = 8000
COSTS = {"VLLM_SIM_DECODE_MS": "30", "VLLM_SIM_PREFILL_US_PER_TOKEN": "20"}
"""A step takes 30 ms, so that busy cores are not most of a latency."""
CPU = "250m"
CONCURRENCY = {"perReplica": 128, "queuedPerReplica": 256}
"""More than the load of a benchmark comes to: an engine that refuses requests measures itself."""


async def addresses(api: Api, namespace: str, labels: Mapping[str, str]) -> list[str]:
    """Return the addresses of the ready pods with these labels."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = await api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
    return [pod["status"]["podIP"] for pod in pods["items"] if _is_ready(pod)]


async def fingerprint(address: str) -> str:
    """Return what marks the answers of an engine."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(_url(address, "v1/completions"), json=ask()) as answer,
    ):
        answer.raise_for_status()
        return str((await answer.json())["system_fingerprint"])


async def break_all(engines: Sequence[str], faults: Object) -> None:
    """Let these faults begin in all engines at once."""
    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(_break(http, address, faults) for address in engines))


async def _break(http: aiohttp.ClientSession, address: str, faults: Object) -> None:
    async with http.post(_url(address, "sim/faults"), json=faults) as answer:
        answer.raise_for_status()


def _url(address: str, path: str) -> str:
    return f"http://{address}:{PORT}/{path}"


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    is_ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]
