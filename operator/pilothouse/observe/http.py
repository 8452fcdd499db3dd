"""Reading something small from an address that may hang, lie or be gone."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from pilothouse.errors import Unreadable

_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What to read, for how long at most, and how much at most; times are in seconds, sizes in bytes."""

    url: str
    seconds: float
    limit: int
    form: Mapping[str, str] | None = None
    """Sent as a POST; without it, it is a GET."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open the session for all measurements: no proxy, no cookies, no compression."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        trust_env=False,
    ) as session:
        yield session


async def read(session: aiohttp.ClientSession, request: Request) -> tuple[int, bytes]:
    """Return the HTTP status and the body; raises Unreadable. Redirects are not followed."""
    try:
        async with asyncio.timeout(request.seconds):
            return await _exchange(session, request)
    except TimeoutError as error:
        raise Unreadable(f"no answer within {request.seconds:g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise Unreadable(f"can't connect: {_os_error(error)}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreadable(f"the connection failed: {type(error).__name__}") from error


async def _exchange(session: aiohttp.ClientSession, request: Request) -> tuple[int, bytes]:
    method = "GET" if request.form is None else "POST"
    async with session.request(
        method, request.url, data=request.form, headers=request.headers, allow_redirects=False
    ) as response:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > request.limit:
                raise Unreadable(f"the answer is larger than {request.limit} bytes")
        return response.status, bytes(body)


def _os_error(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number) if number else "the name does not resolve"
