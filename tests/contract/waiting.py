"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

STEP_SECONDS = 0.05


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    """Return as soon as the condition holds; raise TimeoutError naming it when it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come to hold in {seconds} s")
        await asyncio.sleep(STEP_SECONDS)
