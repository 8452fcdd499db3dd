"""The watches, by kopf: the only file that knows it.

kopf lists and watches, follows CRDs that come and go, and starts over after what a network does. It is given
no handler that keeps state: `on.event` brings each object, and its content goes nowhere but into the Store.
No finalizers, no annotations, no peering, no Events.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import kopf

from pilothouse.act.credentials import Credentials
from pilothouse.control.queue import SETTLE_SECONDS, Queue
from pilothouse.kinds import CHILDREN, CHILDREN_SELECTOR, GATEWAY, WATCHED, Kind
from pilothouse.names import FIELD_MANAGER
from pilothouse.observe.store import Store, version_of
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.telemetry.metrics import WATCH_EVENTS

_CHILDREN: Final = frozenset(kind.name for kind in CHILDREN)
_LISTS: Final = tuple(kind.path() for kind in WATCHED)

Observe = Callable[[str | None, Object], None]
"""Takes in an object and what the watch says of it: ADDED, MODIFIED, DELETED, or None in a listing."""

_BACKOFFS: Final = (0.5, 1, 1) + (2,) * 100_000
"""Never give up: kopf ends when a list keeps failing, and an API server may be away for long."""

_IDENTITY: Final[Any] = FIELD_MANAGER
"""For kopf's peering, which is off. Without it kopf asks for the user's name, and a pod's user has none."""


def observer(store: Store, queue: Queue[ObjectKey], relisted: Callable[[], None]) -> Observe:
    """Build the function that keeps the Store up to date and queues whom a change concerns."""

    def observe(event: str | None, obj: Object) -> None:
        key = key_of(obj)
        WATCH_EVENTS.labels(key.kind).inc()
        if event is None:
            relisted()
        affected = store.affected_by(key)
        changed = store.evict(key, version_of(obj)) if event == "DELETED" else store.upsert(obj)
        if not changed:
            return
        for dependant in affected | store.affected_by(key):
            if key.kind in _CHILDREN or dependant.kind == GATEWAY.name:
                queue.add_after(dependant, SETTLE_SECONDS)
            else:
                queue.add(dependant)

    return observe


async def watch(observe: Observe, credentials: Credentials, started: Callable[[], None]) -> None:
    """Watch every kind until cancelled; `started` is called once kopf has put its signal handlers in place.

    Raises what ends kopf, and RuntimeError when it ends without a word.
    """
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(observe, credentials),
        settings=_settings(),
        identity=_IDENTITY,
        clusterwide=True,
        standalone=True,
    )
    started()
    await kopf.run_tasks(tasks, ignored=ours)
    raise RuntimeError("kopf ended by itself")


def _registry(observe: Observe, credentials: Credentials) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    for kind in WATCHED:
        _register(registry, kind, observe)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401 -- kopf
        return await _connection(credentials)

    return registry


def _register(registry: kopf.OperatorRegistry, kind: Kind, observe: Observe) -> None:
    @kopf.on.event(kind.api_version, kind.plural, registry=registry, id=kind.name)
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 -- kopf
        obj: Object = dict(event["object"])
        observe(event["type"], obj)


async def _connection(credentials: Credentials) -> kopf.AiohttpSession:
    certificate, key = credentials.client_certificate or (None, None)
    info = kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_file,
        insecure=not credentials.verify,
        certificate_path=certificate,
        private_key_path=key,
        token=await credentials.token(),
        proxy_url=credentials.proxy,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        middlewares=(_outlive_kinds,),
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)


async def _outlive_kinds(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Call a watched kind that the API server does not have a lost connection, which kopf tries again.

    A kind may go before kopf hears of it, and a watch that is not found ends kopf and the operator with it.
    Once kopf has heard, it ends that watch alone.
    """
    response = await handler(request)
    if response.status == HTTPStatus.NOT_FOUND and request.url.path.endswith(_LISTS):
        response.release()
        raise aiohttp.ClientConnectionError(f"{request.url.path} is not served")
    return response


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = _BACKOFFS
    settings.networking.enforce_retry_after = True
    # Each object of a listing has a task of kopf's for as long as this: at 2,000 models it shows in memory.
    settings.watching.chunk_size = 100
    settings.queueing.idle_timeout = 0.2
    for kind in CHILDREN:
        settings.watching.label_selectors[kind.api_version, kind.plural] = CHILDREN_SELECTOR
    return settings


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of the last handled state, and builds none: that is a deep copy for each event."""

    def build(self, **_: Any) -> Any:  # noqa: ANN401 -- kopf
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: there are none that could fail halfway."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None

    def purge(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None

    def touch(self, **_: Any) -> None:  # noqa: ANN401 -- kopf
        return None

    def clear(self, *, essence: Any) -> Any:  # noqa: ANN401 -- kopf
        return essence
