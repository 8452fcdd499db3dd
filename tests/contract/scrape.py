"""An engine's /metrics, read."""

import aiohttp

from contract.engine import Engine
from harness.metrics import Metrics, parse


async def scrape(http: aiohttp.ClientSession, engine: Engine) -> Metrics:
    """Read the engine's metrics now."""
    async with http.get(f"{engine.url}/metrics") as answer:
        return parse(await answer.text())
