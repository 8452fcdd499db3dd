"""The hub's HTTP API, as far as huggingface_hub 2.4.0 asks for it: info, listing, HEAD and GET of files.

As at the real hub a large file is a redirect to a storage host with a signed address. Any `owner/name` exists
at the branch `main` and at any 40 hex digits; none of owner `missing`, and no commit of forty zeros.

POST /_hub/faults puts a fault in force (see faults.py), DELETE ends all, or with `?repository=` those of one.
GET /_hub/requests tells what was asked for, DELETE starts counting anew.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from harness.hub import repositories
from harness.hub.faults import Fault, Faults
from harness.hub.repositories import File

PAGE = 5
"""Entries of a listing per page; few, so that every listing has a second one."""
CHUNK = 64 * 1024
COMMIT = re.compile(r"[0-9a-f]{40}")
NO_COMMIT = "0" * 40
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
WORDS = {
    401: "Invalid username or password.",
    403: "You have been blocked from accessing this resource.",
    404: "Repository not found",
    429: "You have reached your rate limit.",
    500: "Internal Error - We're working hard to fix this as soon as possible!",
    503: "Service Unavailable",
}
MISSING = {
    "repository": ("RepoNotFound", "Repository not found"),
    "revision": ("RevisionNotFound", "Invalid rev id: {revision}"),
    "entry": ("EntryNotFound", "Entry not found"),
}


@dataclass
class Asked:
    """What clients asked for since the last DELETE."""

    heads: Counter[str] = field(default_factory=Counter)
    gets: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of bodies per file."""
    listings: Counter[str] = field(default_factory=Counter)


class Refusal(Exception):  # noqa: N818 -- it is an answer, not an error of this program
    """An answer other than 2xx."""

    def __init__(self, status: int, code: str | None, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message}
        if code:
            self.headers["X-Error-Code"] = code
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
            self.headers["RateLimit"] = f'"api";r=0;t={retry_after}'
            self.headers["RateLimit-Policy"] = '"fixed window";"api";q=500;w=300'


@dataclass(frozen=True)
class Place:
    """What a request is about."""

    repository: str
    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}/{self.path}"


class Hub:
    """The handlers and what they keep."""

    def __init__(self) -> None:
        self._faults = Faults()
        self._asked = Asked()

    def routes(self) -> list[web.RouteDef]:
        """Every path that it answers."""
        repository = "{owner:[^/_][^/]*}/{name}"
        return [
            web.get(f"/api/models/{repository}", self.info),
            web.get(f"/api/models/{repository}/revision/{{revision}}", self.info),
            web.get(f"/api/models/{repository}/tree/{{revision}}", self.tree),
            web.get(f"/{repository}/resolve/{{revision}}/{{path:.+}}", self.resolve),
            web.get(f"/_storage/{repository}/{{revision}}/{{path:.+}}", self.storage),
            web.post("/_hub/faults", self.add_fault),
            web.delete("/_hub/faults", self.clear_faults),
            web.get("/_hub/requests", self.requests),
            web.delete("/_hub/requests", self.forget_requests),
            web.get("/_hub/health", self.health),
        ]

    async def info(self, request: web.Request) -> web.StreamResponse:
        """The model's card and the commit of a revision."""
        place = self._place(request, "/info")
        self._fail(request, place)
        shape = self._shape(place.repository)
        siblings = [{"rfilename": path} for path in self._files(place)]
        data = {key: value for key, value in vars(shape).items() if key.startswith("license") and value}
        data.pop("license_text", None)
        answer = {"id": place.repository, "modelId": place.repository, "sha": place.commit, "private": False}
        return web.json_response({**answer, "cardData": data, "siblings": siblings, "tags": []})

    async def tree(self, request: web.Request) -> web.StreamResponse:
        """One page of the listing."""
        place = self._place(request, "/tree")
        self._fail(request, place)
        self._asked.listings[f"{place.repository}@{place.commit}"] += 1
        entries = [listed(file) for file in self._files(place).values()]
        more = self._fault("entries", place)
        entries += (more.entries or []) if more else []
        start = int(request.query.get("cursor", "0"))
        headers = {}
        if start + PAGE < len(entries):
            following = request.url.update_query(cursor=start + PAGE)
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(entries[start : start + PAGE], headers=headers)

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """A file, or where a large one lies."""
        place = self._place(request, request.match_info["path"])
        counted = self._asked.heads if request.method == "HEAD" else self._asked.gets
        self._fail(request, place)
        self._admit(request, place)
        file = self._file(place)
        if not file.large:
            counted[str(place)] += 1
            return await self._send(request, place, file)
        path = f"/_storage/{place.repository}/{place.commit}/{quote(place.path)}"
        location = str(request.url.origin()) + path + "?X-Amz-Signature=signed-by-the-hub"
        return web.Response(status=302, headers={**described(place, file), "Location": location})

    async def storage(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a large file."""
        place = self._place(request, request.match_info["path"])
        counted = self._asked.heads if request.method == "HEAD" else self._asked.gets
        counted[str(place)] += 1
        file = self._file(place)
        return await self._send(request, place, file)

    async def add_fault(self, request: web.Request) -> web.Response:
        """POST /_hub/faults."""
        try:
            self._faults.add(await request.json())
        except TypeError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response({})

    async def clear_faults(self, request: web.Request) -> web.Response:
        """DELETE /_hub/faults, or of one repository."""
        self._faults.clear(request.query.get("repository"))
        return web.json_response({})

    async def requests(self, _request: web.Request) -> web.Response:
        """GET /_hub/requests: heads, gets and sent bytes per file, pages of listings per commit."""
        return web.json_response(vars(self._asked))

    async def forget_requests(self, _request: web.Request) -> web.Response:
        """DELETE /_hub/requests."""
        self._asked = Asked()
        return web.json_response({})

    async def health(self, _request: web.Request) -> web.Response:
        """For a readiness probe; no fault touches it."""
        return web.json_response({})

    def _place(self, request: web.Request, path: str) -> Place:
        repository = "{owner}/{name}".format_map(request.match_info)
        if repository.startswith("missing/"):
            raise missing("repository", request)
        revision = request.match_info.get("revision", "main")
        commit = self._head(repository) if revision == "main" else revision
        if not COMMIT.fullmatch(commit) or commit == NO_COMMIT:
            raise missing("revision", request)
        return Place(repository, commit, path)

    def _head(self, repository: str) -> str:
        moved = self._faults.first("head", repository, "")
        return (moved.head if moved else None) or repositories.main_commit(repository)

    def _shape(self, repository: str) -> repositories.Shape:
        return repositories.shape(repository, **self._faults.shape(repository))

    def _files(self, place: Place) -> dict[str, File]:
        return repositories.files(place.repository, place.commit, self._shape(place.repository))

    def _file(self, place: Place) -> File:
        file = self._files(place).get(place.path)
        if file is None:
            raise Refusal(404, *MISSING["entry"])
        return file

    def _fault(self, kind: str, place: Place) -> Fault | None:
        return self._faults.first(kind, place.repository, place.path)

    def _fail(self, request: web.Request, place: Place) -> None:
        if down := self._fault("down", place):
            down.spend()
            hang_up(request)
        if fault := self._fault("status", place):
            fault.spend()
            raise refusal(fault, request)

    def _admit(self, request: web.Request, place: Place) -> None:
        gate = self._fault("gated", place)
        if gate is None or (gate.token and request.headers.get("Authorization") == f"Bearer {gate.token}"):
            return
        status = 403 if "Authorization" in request.headers else 401
        words = f"Access to model {place.repository} is restricted and you are not in the authorized list."
        raise Refusal(status, "GatedRepo", words)

    async def _send(self, request: web.Request, place: Place, file: File) -> web.StreamResponse:
        content = self._content(request, place, file)
        start, end = span(request, len(content))
        status = 206 if "Range" in request.headers else 200
        response = web.StreamResponse(status=status, headers=described(place, file))
        response.content_length = end - start
        if status == web.HTTPPartialContent.status_code:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        await response.prepare(request)
        if request.method != "HEAD":
            await self._stream(request, response, place, content[start:end])
        return response

    def _content(self, request: web.Request, place: Place, file: File) -> bytes:
        fault = self._fault("corrupt", place)
        if fault is None or request.method == "HEAD":
            return file.content
        fault.spend()
        return file.content[:-1] + bytes([file.content[-1] ^ 0xFF])

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, place: Place, body: bytes
    ) -> None:
        slow = self._fault("slow", place)
        cut = self._fault("cut", place)
        end = len(body)
        if cut is not None and cut.cut is not None and cut.cut < end:
            cut.spend()
            end = cut.cut
        step = min(CHUNK, max(1, slow.slow // 10)) if slow and slow.slow else CHUNK
        for start in range(0, end, step):
            chunk = body[start : min(start + step, end)]
            await response.write(chunk)
            self._asked.sent[str(place)] += len(chunk)
            await asyncio.sleep(len(chunk) / slow.slow if slow and slow.slow else 0)
        if end < len(body):
            hang_up(request)


def listed(file: File) -> dict[str, object]:
    """A file's entry in a listing."""
    size = len(file.content)
    entry: dict[str, object] = {"type": "file", "oid": file.blob, "size": size, "path": file.path}
    if file.large:
        entry["lfs"] = {"oid": file.sha256, "size": size, "pointerSize": len(file.pointer)}
    return entry


def described(place: Place, file: File) -> dict[str, str]:
    """The headers by which a client knows a file.

    The storage of the real hub is another host and leaves most of them out; the redirect has them.
    This one is the same host, to which clients follow the redirect before they read them.
    """
    headers = {"X-Repo-Commit": place.commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
    return {**headers, **linked} if file.large else headers


def missing(what: str, request: web.Request) -> Refusal:
    """What the hub says of something that it does not have; without a token it does not even say that."""
    code, message = MISSING[what]
    if what == "repository" and "Authorization" not in request.headers:
        return Refusal(401, None, WORDS[401])
    return Refusal(404, code, message.format(revision=request.match_info.get("revision", "")))


def refusal(fault: Fault, request: web.Request) -> Refusal:
    """The answer that a test asked for."""
    status = fault.status or 500
    code, message = MISSING[fault.missing or "repository"]
    message = message.format(revision=request.match_info.get("revision", ""))
    words = fault.message or (message if status == web.HTTPNotFound.status_code else WORDS[status])
    return Refusal(status, code if status == web.HTTPNotFound.status_code else None, words, fault.retry_after)


def span(request: web.Request, size: int) -> tuple[int, int]:
    """First byte and the one behind the last that were asked for."""
    asked = RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None:
        return 0, size
    start, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else size, size)
    if start >= size:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return start, end


def hang_up(request: web.Request) -> None:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()
    raise web.HTTPServiceUnavailable


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a Refusal into its answer."""
    try:
        return await handler(request)
    except Refusal as refused:
        return web.json_response({"error": str(refused)}, status=refused.status, headers=refused.headers)


def app() -> web.Application:
    """A hub of its own, without faults."""
    application = web.Application(middlewares=[refusals])
    application.add_routes(Hub().routes())
    return application
