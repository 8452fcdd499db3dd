"""Reads tokens from Secrets in the operator's own namespace, and keeps them for a minute."""

import base64
import time
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Final

from pilothouse.act.kube import Kube
from pilothouse.errors import Terminal
from pilothouse.kinds import SECRET
from pilothouse.plan.observed import ObjectKey

_KEY: Final = "token"
_KEPT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    read_at: float


class Secrets:
    """Tokens by the name of their Secret."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._tokens: dict[str, _Token] = {}

    async def token(self, name: str) -> str:
        """Return the key `token` of a Secret; raises Terminal without it, and what `Kube.get` raises."""
        known = self._tokens.get(name)
        if known and time.monotonic() - known.read_at < _KEPT_SECONDS:
            return known.value
        secret = await self._kube.get(ObjectKey(SECRET.name, self._namespace, name))
        value = _decoded(name, (secret.get("data") or {}).get(_KEY))
        self._tokens[name] = _Token(value, time.monotonic())
        return value


def _decoded(name: str, data: str | None) -> str:
    if not data:
        raise Terminal(f"Secret {name} has no key {_KEY}")
    try:
        return base64.b64decode(data).decode("ascii").strip()
    except (Base64Error, UnicodeDecodeError) as error:
        raise Terminal(f"the key {_KEY} of Secret {name} is no token") from error
