"""An ASGI middleware to be named by --middleware: it marks each answer and counts the pieces that it saw."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Marker:
    """Adds `x-contract: seen`, and prints `marker: N pieces of PATH` after each answer."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, and look at what comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        pieces = 0

        async def watched(message: Message) -> None:
            nonlocal pieces
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-contract", b"seen")]
            elif message.get("body"):
                pieces += 1
            await send(message)

        await self.app(scope, receive, watched)
        print(f"marker: {pieces} pieces of {scope['path']}", flush=True)  # noqa: T201
