"""The verbs of `act.kube` over one aiohttp session.

The official client's own request path costs 1.8 ms of CPU a call, a bare session 0.8: at 2,000
ModelDeployments with six children each that is the difference between keeping up and not.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import aiohttp

from pilothouse.act import lists
from pilothouse.act.credentials import Credentials
from pilothouse.act.kube import Page
from pilothouse.errors import Conflict, NamespaceTerminating, NotFound, PilothouseError, Retryable, Terminal
from pilothouse.kinds import BY_NAME, Kind
from pilothouse.names import FIELD_MANAGER, PEOPLE_FIELD_MANAGER
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.telemetry.metrics import API_REQUESTS

_NO_COMPRESSION: Final = {"Accept-Encoding": "identity"}
"""The API server packs each large list anew, which takes it longer than sending the list inside a cluster."""
_PART: Final = 500
_FROM_CACHE: Final = {"resourceVersion": "0"}
"""Lists come from the API server's own memory, as client-go's informers have them; the watch puts right what
is a moment old. From etcd, custom resources cost the API server eight times as much."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    method: str
    kind: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content_type: str = _JSON
    accept: str = _JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod answered to a request that the API server passed on; `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def connect(credentials: Credentials) -> AsyncIterator["Rest"]:
    """Open a session, and close it in the end."""
    connector = aiohttp.TCPConnector(ssl=credentials.ssl_context(), limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(
        credentials.server, connector=connector, timeout=_TIMEOUT, proxy=credentials.proxy
    ) as session:
        yield Rest(session, credentials)


class Rest:
    """The one implementation of `act.kube.Kube`."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials) -> None:
        self._session = session
        self._credentials = credentials

    async def get(self, key: ObjectKey) -> Object:
        """Read one object."""
        return await self._send(_Request("get", "GET", key.kind, _path(key)))

    async def pages(
        self, kind: Kind, *, namespace: str = "", selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """List the objects of a kind, in parts of one list; an empty namespace stands for all."""
        params = _FROM_CACHE | ({"labelSelector": selector} if selector else {})
        accept = _METADATA_LIST if metadata_only else _JSON
        request = _Request("list", "GET", kind.name, kind.path(namespace), params, accept=accept)
        answer = lists.read((await self._receive(request)).decode())
        items = [*islice(answer.items, _PART)]
        yield _page(kind, items, answer.resource_version)
        while items := [*islice(answer.items, _PART)]:
            yield _page(kind, items, answer.resource_version)

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Name (in plural) the resources of an API version; empty where the API server lacks it."""
        try:
            answer = await self._send(_Request("get", "GET", "APIResourceList", f"/apis/{group}/{version}"))
        except NotFound:
            return frozenset()
        return frozenset(resource["name"] for resource in answer["resources"])

    async def apply(self, obj: Object, *, force: bool) -> Object:
        """Apply a full object server-side; without `force`, a field that someone else set is a Conflict."""
        key = key_of(obj)
        params = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._send(_Request("apply", "PATCH", key.kind, _path(key), params, obj, _APPLY))

    async def patch_status(self, key: ObjectKey, patch: Object) -> Object:
        """Merge-patch the status subresource; `patch` is the whole body."""
        params = {"fieldManager": FIELD_MANAGER}
        path = _path(key, "status")
        return await self._send(_Request("patch_status", "PATCH", key.kind, path, params, patch, _MERGE))

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete the object of this uid; another object of the same name is a Conflict."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._send(_Request("delete", "DELETE", key.kind, _path(key), body=options))

    async def create(self, obj: Object) -> Object:
        """Create an object; one that is there already is a Conflict."""
        key = key_of(obj)
        path = BY_NAME[key.kind].path(key.namespace)
        return await self._send(_Request("create", "POST", key.kind, path, body=obj))

    async def update(self, obj: Object) -> Object:
        """Replace an object at its `resourceVersion`; a newer one is a Conflict."""
        key = key_of(obj)
        return await self._send(_Request("update", "PUT", key.kind, _path(key), body=obj))

    async def annotate(self, key: ObjectKey, annotations: Mapping[str, str]) -> Object:
        """Set annotations and leave all others, as a person does; the operator itself never does."""
        body = {"metadata": {"annotations": dict(annotations)}}
        params = {"fieldManager": PEOPLE_FIELD_MANAGER}
        return await self._send(_Request("annotate", "PATCH", key.kind, _path(key), params, body, _MERGE))

    async def ask_pod(self, pod: ObjectKey, port: int, path: str) -> Answer:
        """GET a path of a pod through the API server; an error of the API server's own is raised."""
        proxy = BY_NAME[pod.kind].path(pod.namespace, f"{pod.name}:{port}", "proxy")
        try:
            status, headers, raw = await self._exchange(_Request("proxy", "GET", pod.kind, proxy + path))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retryable(f"proxy {pod.name}: {str(error) or type(error).__name__}") from error
        if status >= 400 and _status_object(raw).get("kind") == "Status":  # noqa: PLR2004 -- HTTP
            raise _error(status, headers, raw)
        return Answer(status, headers, raw)

    async def _send(self, request: _Request) -> Object:
        answer: Object = json.loads(await self._receive(request))
        return answer

    async def _receive(self, request: _Request) -> bytes:
        try:
            status, headers, raw = await self._exchange(request)
        except (aiohttp.ClientError, TimeoutError) as error:
            API_REQUESTS.labels(request.verb, request.kind, "error").inc()
            raise Retryable(f"{request.verb} {request.kind}: {str(error) or type(error).__name__}") from error
        API_REQUESTS.labels(request.verb, request.kind, status).inc()
        if status >= 400:  # noqa: PLR2004 -- HTTP
            raise _error(status, headers, raw)
        return raw

    async def _exchange(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": request.accept, "Content-Type": request.content_type, **_NO_COMPRESSION}
        if token := await self._credentials.token():
            headers["Authorization"] = f"Bearer {token}"
        data = None if request.body is None else json.dumps(request.body, separators=(",", ":"))
        async with self._session.request(
            request.method, request.path, params=request.params, data=data, headers=headers
        ) as response:
            return response.status, response.headers, await response.read()


def _page(kind: Kind, items: list[Object], resource_version: int) -> Page:
    """Mark the items of a list: they come without the two fields that say what they are."""
    marked = [item | {"apiVersion": kind.api_version, "kind": kind.name} for item in items]
    return Page(marked, resource_version)


def _path(key: ObjectKey, subresource: str = "") -> str:
    return BY_NAME[key.kind].path(key.namespace, key.name, subresource)


def _error(status: int, headers: Mapping[str, str], raw: bytes) -> PilothouseError:
    """Map an answer to our tree; the message is the server's own."""
    answer = _status_object(raw)
    message = answer.get("message") or f"HTTP {status}"
    causes = [cause.get("reason") for cause in (answer.get("details") or {}).get("causes") or []]
    if status == 404:  # noqa: PLR2004
        return NotFound(message)
    if status == 409:  # noqa: PLR2004
        return Conflict(message)
    if "NamespaceTerminating" in causes:
        return NamespaceTerminating(message)
    # 401 too: a rotated token is re-read within a minute.
    if status in (401, 408, 410, 429) or status >= 500:  # noqa: PLR2004
        return Retryable(message, retry_after=_seconds(headers.get("Retry-After")))
    return Terminal(message)


def _status_object(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(value: str | None) -> float | None:
    """Read a Retry-After in seconds; the API server never sends a date."""
    return float(value) if value and value.isdigit() else None
