"""A bare client of the API server: one aiohttp session, JSON in and out, and no more of Kubernetes."""

import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config

from harness.shell import HarnessError

Object = dict[str, Any]

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

LEAVES_CLOSED_OPEN = sys.version_info < (3, 12, 8)
"""Whether a connection may wait for the server to close it in turn when its loop is gone (cpython#118960)."""


class Api:
    """Requests by path, such as `/apis/apps/v1/namespaces/x/deployments`.

    An error status raises aiohttp.ClientResponseError, whose message is the API server's.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **params: str) -> Object:
        """Read an object or a list."""
        return await self._send("GET", path, params=params)

    async def text(self, path: str) -> str:
        """Read what is not JSON, such as `/metrics`."""
        async with self._session.get(path) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def watch(self, path: str, **params: str) -> AsyncIterator[Object]:
        """Follow a collection from a `resourceVersion`: each event, until the API server ends it.

        From "0" all that the API server has at hand comes first; without one it may refuse for a while, since
        this etcd does not tell it how far a quiet collection has come.
        """
        async for line in self.lines(path, **params, watch="true"):
            event: Object = json.loads(line)
            if event["type"] == "ERROR":
                raise HarnessError(f"The watch of {path} ended: {event['object']['message']}")
            yield event

    async def lines(self, path: str, **params: str) -> AsyncIterator[bytes]:
        """Read lines as they come, such as those of a log with `follow`, until the API server ends them."""
        async with self._session.get(path, params=params, timeout=aiohttp.ClientTimeout()) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                yield line

    async def create(self, path: str, obj: Object, **params: str) -> Object:
        """Create an object in a collection."""
        return await self._send("POST", path, obj, params=params)

    async def apply(self, path: str, obj: Object, manager: str) -> Object:
        """Apply an object server-side, by force."""
        params = {"fieldManager": manager, "force": "true"}
        return await self._send("PATCH", path, obj, APPLY, params)

    async def merge(self, path: str, patch: Object) -> Object:
        """Merge-patch an object."""
        return await self._send("PATCH", path, patch, MERGE)

    async def delete(self, path: str) -> Object:
        """Delete an object, or all of a collection."""
        return await self._send("DELETE", path)

    async def count(self, path: str) -> int:
        """Count the objects of a collection without reading them."""
        page = await self.get(path, limit="1")
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

    async def _send(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = JSON,
        params: dict[str, str] | None = None,
    ) -> Object:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, params=params, data=data, headers=headers) as answer:
            if not answer.ok:
                raise await _refusal(answer)
            content: Object = await answer.json()
            return content


async def _refusal(answer: aiohttp.ClientResponse) -> aiohttp.ClientResponseError:
    text = await answer.text()
    said = json.loads(text)["message"] if answer.content_type == JSON else text
    request, history = answer.request_info, answer.history
    return aiohttp.ClientResponseError(request, history, status=answer.status, message=said)


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[Api]:
    """Open a session as the user of a kubeconfig that has a client certificate or a token."""
    configuration = Configuration()
    await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    token = await configuration.get_api_key_with_prefix("BearerToken")
    headers = {"Authorization": token} if token else {}
    connector = aiohttp.TCPConnector(ssl=context, limit=0, enable_cleanup_closed=LEAVES_CLOSED_OPEN)
    async with aiohttp.ClientSession(configuration.host, connector=connector, headers=headers) as session:
        yield Api(session)
