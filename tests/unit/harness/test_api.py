"""A bare client of the API server leaves no connection behind, whatever the server does."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from harness.api import connect
from harness.authority import Authority
from harness.kubectl import kubeconfig_for

ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"


class Deaf:
    """A server that begins an answer, and neither goes on nor hears that its client hangs up."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.crt"
        Authority(folder).issue("localhost")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(folder / "localhost.crt", folder / "localhost.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: ssl.SSLSocket | None = None
        Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        self._listener.close()
        if self._connection:
            self._connection.close()

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        self._connection = self._context.wrap_socket(accepted, server_side=True)
        self._connection.recv(4096)
        self._connection.sendall(ANSWER)


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Deaf]:
    server = Deaf(tmp_path)
    yield server
    server.close()


@pytest.fixture
def kubeconfig(tmp_path: Path, deaf: Deaf) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_for(f"https://localhost:{deaf.port}", deaf.authority, "none"))
    return path


async def _look_for_a_while(kubeconfig: Path) -> None:
    begun = asyncio.Event()

    async def follow() -> None:
        async for _ in api.lines("/events"):
            begun.set()

    async with connect(kubeconfig) as api:
        following = asyncio.create_task(follow())
        await begun.wait()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def test_a_watch_that_is_left_leaves_no_connection(kubeconfig: Path) -> None:
    asyncio.run(_look_for_a_while(kubeconfig))
    # pytest makes an error of what is found unclosed.
    gc.collect()
