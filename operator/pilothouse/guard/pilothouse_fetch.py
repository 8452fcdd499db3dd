"""Brings exactly the pinned artifacts into the cache, and checks them before an engine starts.

This file runs by itself in the init container `fetch` with the engine image's Python and huggingface_hub; it
imports nothing of the operator. What it is to do is in PILOTHOUSE_FETCH, one JSON object:

    {"artifacts": [{"role": "checkpoint" | "tokenizer", "source": "hf://owner/name", "revision": "<commit>"},
                   {"role": ..., "source": "pvc://claim/path", "revision": "sha256:...", "path": "/mnt/..."}],
     "license": {"id": "Apache-2.0", "names": ["apache-2.0"], "textDigest": null | "sha256:..."},
     "fingerprint": null | "sha256:...", "remoteCode": false}

It writes PILOTHOUSE_RUN/manifest.json and ends with 0, or says in the termination log why not, as
`{"reason": ..., "message": ...}`, and ends with 1. While it runs, GET :8000/pilothouse/fetch tells how far it
is.

The hub's own library downloads, and an engine finds the files where that library would have put them. The
rest is ours: a file gets its name in the cache only when its digest is the hub's, a download goes on where a
kill ended it, and one of several pods that share a cache downloads while the others wait. No name and no
digest that the hub tells leads out of the cache.
"""

import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

if __name__ == "__main__":
    # A container's first process ends by no signal that it does not handle, and the imports take a second.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

# The library reads these when it is imported. Its other ways to download can neither be resumed nor be
# measured here: xet has a cache of its own, hf_transfer leaves holes in what it has not finished.
os.environ.update(
    HF_HUB_DISABLE_XET="1",
    HF_HUB_ENABLE_HF_TRANSFER="0",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.repocard import metadata_load
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

REVISION_NOT_FOUND: Final = "RevisionNotFound"
HUB_ACCESS_DENIED: Final = "HubAccessDenied"
HUB_RATE_LIMITED: Final = "HubRateLimited"
HUB_UNAVAILABLE: Final = "HubUnavailable"
CACHE_FULL: Final = "CacheFull"
ARTIFACT_MISMATCH: Final = "ArtifactMismatch"
LICENSE_MISMATCH: Final = "LicenseMismatch"
TOKENIZER_CHANGED: Final = "TokenizerChanged"
FETCH_FAILED: Final = "FetchFailed"

MESSAGE_BYTES: Final = 2000
"""What the termination log may hold, so that the kubelet cuts nothing off."""
WORKERS: Final = 4
"""Files at a time."""
THREADS: Final = "fetch"
"""What the names of their threads begin with."""
TRIES: Final = 3
"""Of one file, each after the library's own retries."""
PAUSE_SECONDS: Final = 1.0
RATE_SECONDS: Final = 30.0
"""Over what time the rate of a download is taken: the library writes 10 MiB at a time."""
HASH_BYTES: Final = 1024 * 1024
BROKEN: Final = {"ConnectionError", "TimeoutError", "TransportError", "Timeout", "ChunkedEncodingError"}
"""Errors of a broken connection, by name: which HTTP client raises them depends on the library's version."""
NAMES, NAME_LENGTH = 8, 200
"""How many licenses a card may name, and how long a name is."""

TEXTS: Final = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "README.md")
"""What an engine reads besides weights: configurations, vocabularies, templates, and the card."""
WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pt")
"""The first of these that a revision has at its top is its weights."""
LICENSE_FILE: Final = re.compile(r"(model[-_])?(licen[cs]e|copying)([-_.].*)?", re.IGNORECASE)
GIT_DIGITS: Final = 40
DIGEST: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
NOTICE_FILE: Final = re.compile(r"(notice|use[-_]policy|usage[-_]policy)(\..*)?", re.IGNORECASE)

Object = dict[str, Any]
Given = TypeVar("Given")
Done = TypeVar("Done")
log = logging.getLogger("pilothouse.fetch")


class Failure(Exception):  # noqa: N818 -- the word of the conditions
    """The fetch ends; `reason` is one of the operator's names.Reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Artifact:
    """What is pinned; `path` is the mounted folder of one that comes from no hub."""

    role: str
    source: str
    revision: str
    path: str | None = None

    @property
    def repository(self) -> str:
        """`owner/name` at the hub."""
        return self.source.removeprefix("hf://")

    @property
    def folder(self) -> str:
        """The name of the repository's folder in the cache."""
        return repo_folder_name(repo_id=self.repository, repo_type="model")

    def __str__(self) -> str:
        return f"{self.source} at {self.revision}"


@dataclass(frozen=True)
class Request:
    """PILOTHOUSE_FETCH."""

    artifacts: tuple[Artifact, ...]
    license_id: str
    license_names: tuple[str, ...]
    text_digest: str | None
    fingerprint: str | None
    remote_code: bool

    @classmethod
    def parse(cls, text: str) -> "Request":
        """Read the JSON; KeyError for a field that is not there."""
        given = json.loads(text)
        return cls(
            artifacts=tuple(Artifact(**artifact) for artifact in given["artifacts"]),
            license_id=given["license"]["id"],
            license_names=tuple(given["license"]["names"]),
            text_digest=given["license"]["textDigest"],
            fingerprint=given["fingerprint"],
            remote_code=given["remoteCode"],
        )


@dataclass(frozen=True)
class Hub:
    """Where files come from and go to."""

    home: Path
    """HF_HOME."""
    endpoint: str | None = None
    """A mirror; the library's default if None."""
    token: str | None = field(default=None, repr=False)
    other_files: str | None = None
    """HF_HUB_CACHE, where people have the library's cache elsewhere."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Hub":
        """Return the hub that the library would take for these variables."""
        home = environment.get("HF_HOME") or "~/.cache/huggingface"
        endpoint = environment.get("HF_ENDPOINT") or None
        token = environment.get("HF_TOKEN") or None
        return cls(Path(home).expanduser(), endpoint, token, environment.get("HF_HUB_CACHE") or None)

    @property
    def access(self) -> bool | str:
        """The token as the library wants it; False keeps it from looking for one elsewhere."""
        return self.token or False

    @property
    def files(self) -> Path:
        """The library's cache, where an engine looks."""
        return Path(self.other_files) if self.other_files else self.home / "hub"

    def blobs(self, artifact: Artifact) -> Path:
        """Return the folder of the contents of a repository's files, by digest."""
        return self.files / artifact.folder / "blobs"

    def snapshot(self, artifact: Artifact) -> Path:
        """Return the folder of the files of one commit."""
        return self.files / artifact.folder / "snapshots" / artifact.revision

    def notes(self, artifact: Artifact) -> Path:
        """Return the folder of this program's own files about a repository."""
        return self.home / "pilothouse" / artifact.folder


@dataclass(frozen=True)
class Listed:
    """One file of the hub's listing."""

    path: str
    size: int
    digest: str
    """Of the content: git's for small files, sha256 for large ones; its name in the cache."""

    @classmethod
    def parse(cls, entry: Object) -> "Listed":
        """Read an entry; ValueError for one that would lead out of the cache."""
        file = cls(str(entry["path"]), int(entry["size"]), str((entry.get("lfs") or entry)["oid"]))
        path = PurePosixPath(file.path)
        plain = path.as_posix() == file.path and not path.is_absolute() and ".." not in path.parts
        if not plain or not file.path.isprintable() or not DIGEST.fullmatch(file.digest) or file.size < 0:
            raise ValueError(f"its listing has {file}")
        return file

    @property
    def in_git(self) -> bool:
        """Whether the digest is git's."""
        return len(self.digest) == GIT_DIGITS


@dataclass(frozen=True)
class FileDigest:
    """One file of the manifest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class License:
    """What an artifact says of its license; None where it says nothing."""

    card: str | None
    name: str | None
    text_file: str | None
    text_digest: str | None

    @property
    def called(self) -> str | None:
        """The name that the card gives it, casefolded; `other` where it has none of the hub's and no own."""
        named = self.name if self.card is None or self.card.casefold() == "other" else self.card
        return (named or self.card or "").casefold() or None


@dataclass(frozen=True)
class Fetched:
    """An artifact that is in place, each file with its digest."""

    artifact: Artifact
    folder: Path
    files: tuple[FileDigest, ...]


# --- how far it is ------------------------------------------------------------------------------------------


class Progress:
    """What GET /pilothouse/fetch answers: phase, bytes of total bytes, and bytes per second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin("Asking")

    def begin(self, phase: str, total: int = 0, measure: Callable[[], int] = lambda: 0) -> None:
        """Start a phase; `measure` tells its bytes whenever somebody asks."""
        with self._lock:
            self._phase, self._total, self._measure = phase, total, measure
            self._seen = deque([(time.monotonic(), measure())])

    def tell(self) -> Object:
        """Return the answer, with the rate since the oldest look of the last RATE_SECONDS."""
        with self._lock:
            now, done = time.monotonic(), self._measure()
            while len(self._seen) > 1 and self._seen[0][0] < now - RATE_SECONDS:
                self._seen.popleft()
            then, before = self._seen[0]
            self._seen.append((now, done))
            rate = max(0, done - before) / (now - then) if now > then else 0.0
            return {
                "phase": self._phase,
                "bytes": done,
                "totalBytes": self._total,
                "bytesPerSecond": round(rate),
            }


def serve(progress: Progress, port: int) -> None:
    """Answer for the progress until the process ends; without the port the fetch goes on unseen."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/pilothouse/fetch"
            body = json.dumps(progress.tell()).encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: the operator asks every few seconds."""

    try:
        server = ThreadingHTTPServer(("", port), Answer)
    except OSError as error:
        log.warning("nobody can ask for the progress: port %d: %s", port, error)
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()


# --- one download among pods --------------------------------------------------------------------------------


@contextmanager
def alone(artifact: Artifact, hub: Hub, progress: Progress) -> Iterator[str]:
    """Hold the lock of this repository in this cache, and give the name of whoever holds it.

    The kernel lets the lock go with its process, however that ends. Where the file system has no locks,
    nobody else goes by the name, so that two pods don't write into one file.
    """
    folder = hub.notes(artifact)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    yield "pilothouse" if locked(lock, artifact, progress) else uuid.uuid4().hex
    # Not after a failure: some downloads go on until this process ends, and must be alone till then.
    os.close(lock)


def locked(lock: int, artifact: Artifact, progress: Progress) -> bool:
    """Take the lock, and tell whether that can be done."""
    try:
        wait_for(lock, artifact, progress)
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
            raise
        log.warning("the cache's file system has no locks (%s): pods may download twice", error)
        return False
    return True


def wait_for(lock: int, artifact: Artifact, progress: Progress) -> None:
    """Take the lock, and say so if that means to wait for another pod."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another pod fetches %s into this cache; waiting for it", artifact.source)
        progress.begin("Waiting")
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress.begin("Asking")


# --- what is wanted -----------------------------------------------------------------------------------------


def selected(artifact: Artifact, paths: Collection[str], *, remote_code: bool) -> set[str]:
    """Return which files of a repository an engine needs of this artifact."""
    patterns = (*TEXTS, "*.py") if remote_code else TEXTS
    chosen = {path for path in paths if any(fnmatch(path, pattern) for pattern in patterns)}
    chosen |= {path for path in paths if LICENSE_FILE.fullmatch(path) or NOTICE_FILE.fullmatch(path)}
    return chosen | weights_of(artifact, paths) if artifact.role == "checkpoint" else chosen


def weights_of(artifact: Artifact, paths: Collection[str]) -> set[str]:
    """Return the weights at the top of a repository, in the best format that it has."""
    top = [path for path in paths if "/" not in path and path != "training_args.bin"]
    found = ({path for path in top if fnmatch(path, pattern)} for pattern in WEIGHTS)
    weights = next(filter(None, found), None)
    if weights is None:
        raise Failure(
            FETCH_FAILED, f"{artifact} has no weights: no file like {', '.join(WEIGHTS)} at its top"
        )
    return weights


def present(folder: Path) -> set[str]:
    """Return the relative paths of all that is no folder below a folder; none if there is no folder.

    A link to a folder is one of them: an engine would follow it.
    """
    if not folder.exists():
        return set()
    walk = os.walk(folder, onerror=fail)
    entries = (Path(parent, name) for parent, names, files in walk for name in (*names, *files))
    found = (path for path in entries if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}


def fail(error: OSError) -> None:
    """Raise it: a folder that can't be read is not an empty one."""
    raise error


# --- the hub ------------------------------------------------------------------------------------------------


def fetch_from_hub(artifact: Artifact, hub: Hub, progress: Progress, *, remote_code: bool) -> Fetched:
    """Bring and verify one artifact of the hub, or find that an earlier fetch did."""
    folder = hub.snapshot(artifact)
    with alone(artifact, hub, progress) as owner:
        known = remembered(artifact, hub, progress, remote_code=remote_code)
        if known is None:
            wanted = wanted_of(artifact, hub, remote_code=remote_code)
            known = bring(artifact, wanted, hub, progress, owner)
            lay_out(folder, wanted, hub.blobs(artifact))
            forget_listing(artifact, hub)
            remember(artifact, known, hub, remote_code=remote_code)
        return Fetched(artifact, folder, known)


def listed(artifact: Artifact, hub: Hub) -> dict[str, Listed]:
    """Ask the hub for the files of exactly this commit, with their digests.

    The library's own listing waits for ever for a hub that is silent, for hours for one that asks to come
    back later, and takes the token wherever the next page is said to be.
    """
    endpoint = (hub.endpoint or constants.ENDPOINT).rstrip("/")
    url = f"{endpoint}/api/models/{artifact.repository}/tree/{artifact.revision}"
    headers = build_hf_headers(token=hub.access)
    found: dict[str, Listed] = {}
    page = "recursive=true"
    while page:
        answer = get_session().get(
            f"{url}?{page}", headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        )
        hf_raise_for_status(answer)
        found |= {file.path: file for file in files_of(answer.content)}
        page = urlsplit(answer.links.get("next", {}).get("url", "")).query
    return found


def files_of(page: bytes) -> list[Listed]:
    """Read a page of a listing."""
    try:
        entries: list[Object] = json.loads(page)
        if not isinstance(entries, list):
            raise TypeError(f"it is no list but a {type(entries).__name__}")  # noqa: TRY301 -- as the others
        return [Listed.parse(entry) for entry in entries if entry["type"] == "file"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(HUB_UNAVAILABLE, f"the hub's listing can't be read: {words_of(error)}") from error


def wanted_of(artifact: Artifact, hub: Hub, *, remote_code: bool) -> list[Listed]:
    """Return what to have: what the engine needs, and what lies in its folder already, as it may read that.

    What the commit does not have is taken out of the folder.
    """
    folder = hub.snapshot(artifact)
    listing = patiently(lambda: listed(artifact, hub))
    wanted = selected(artifact, listing, remote_code=remote_code)
    for path in relevant(artifact, present(folder), remote_code=remote_code):
        if path in listing:
            wanted.add(path)
            continue
        log.warning("%s has no file %s; it is removed from the cache", artifact, path)
        (folder / path).unlink()
    return [listing[path] for path in sorted(wanted)]


def relevant(artifact: Artifact, paths: set[str], *, remote_code: bool) -> set[str]:
    """Return which files in its folder matter: beside a tokenizer the weights of its model may lie."""
    return paths if artifact.role == "checkpoint" else selected(artifact, paths, remote_code=remote_code)


def bring(
    artifact: Artifact, wanted: Sequence[Listed], hub: Hub, progress: Progress, owner: str
) -> tuple[FileDigest, ...]:
    """Have all contents in the cache, each verified: those that were there, then those that come."""
    shelf = Shelf(hub.blobs(artifact), owner)
    shelf.folder.mkdir(parents=True, exist_ok=True)
    # Two files of one content are one content.
    contents = {file.digest: file for file in wanted}
    known = kept(artifact, [file for file in contents.values() if shelf.of(file).exists()], shelf, progress)
    missing = [file for digest, file in contents.items() if digest not in known]
    if missing:
        download(artifact, missing, hub, shelf, progress)
        known |= came(artifact, missing, shelf, progress)
    return tuple(FileDigest(file.path, size_of(shelf.of(file)), known[file.digest]) for file in wanted)


@dataclass(frozen=True)
class Shelf:
    """The folder of a repository's contents: each under its digest, but under its owner's name until then."""

    folder: Path
    owner: str

    def of(self, file: Listed) -> Path:
        """Return where a content is that was verified."""
        return self.folder / file.digest

    def partial(self, file: Listed) -> Path:
        """Return where it is before."""
        return self.folder / f"{file.digest}.{self.owner}.incomplete"


def kept(artifact: Artifact, files: Sequence[Listed], shelf: Shelf, progress: Progress) -> dict[str, str]:
    """Return the sha256 of those contents that are what their names say; the others are removed."""
    known = {}
    for file, digest, sha256 in hashed(files, shelf.of, progress):
        if digest == file.digest:
            known[digest] = sha256
            continue
        log.warning("%s: %s in the cache has the digest %s; it is fetched anew", artifact, file.path, digest)
        shelf.of(file).unlink(missing_ok=True)
    return known


def came(artifact: Artifact, files: Sequence[Listed], shelf: Shelf, progress: Progress) -> dict[str, str]:
    """Return the sha256 of what was downloaded, and name it; what is not as the hub says is removed."""
    known = {}
    for file, digest, sha256 in hashed(files, shelf.partial, progress):
        if digest != file.digest:
            shelf.partial(file).unlink()
            said = f"{file.path} has the digest {digest}, the hub says {file.digest}"
            raise Failure(ARTIFACT_MISMATCH, f"{artifact}: {said}; the next try fetches it anew")
        shelf.partial(file).replace(shelf.of(file))
        known[digest] = sha256
    return known


def download(artifact: Artifact, files: Sequence[Listed], hub: Hub, shelf: Shelf, progress: Progress) -> None:
    """Bring contents into the cache, if they have room there."""
    total = sum(file.size for file in files)
    progress.begin("Downloading", total, lambda: sum(size_of(shelf.partial(file)) for file in files))
    left = total - progress.tell()["bytes"]
    free = shutil.disk_usage(shelf.folder).free
    if left > free:
        raise Failure(CACHE_FULL, f"{artifact} needs {left} bytes more, {free} are free in {hub.files}")
    log.info("%s: %d files, %d of %d bytes to download", artifact, len(files), left, total)
    in_parallel(lambda file: patiently(lambda: download_one(artifact, file, hub, shelf.partial(file))), files)


def size_of(path: Path) -> int:
    """Return the size; 0 if there is no file, or no more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def download_one(artifact: Artifact, file: Listed, hub: Hub, partial: Path) -> None:
    """Bring a content, from where an earlier try ended: the library itself would begin again after a kill."""
    if size_of(partial) > file.size:
        partial.unlink()
    url = hf_hub_url(artifact.repository, file.path, revision=artifact.revision, endpoint=hub.endpoint)
    headers = {**build_hf_headers(token=hub.access), "Accept-Encoding": "identity"}
    with partial.open("ab") as body:
        http_get(url, body, resume_size=body.tell(), headers=headers, expected_size=file.size)
        body.flush()
        # What was verified is what a node must read again after its power failed.
        os.fsync(body.fileno())


def lay_out(folder: Path, wanted: Iterable[Listed], blobs: Path) -> None:
    """Put the files of a commit into its folder, as the library does: links to their contents."""
    for file in wanted:
        entry = folder / file.path
        target = os.path.relpath(blobs / file.digest, entry.parent)
        if entry.is_symlink() and os.readlink(entry) == target:  # noqa: PTH115 -- as text
            continue
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.unlink(missing_ok=True)
        entry.symlink_to(target)


def patiently(action: Callable[[], Done]) -> Done:
    """Try again when the hub failed or the connection broke."""
    for attempt in range(1, TRIES):
        try:
            return action()
        except Exception as error:
            if reason_of(error) != HUB_UNAVAILABLE:
                raise
            log.warning("trying again in %g s: %s", PAUSE_SECONDS * attempt, words_of(error))
            time.sleep(PAUSE_SECONDS * attempt)
    return action()


def in_parallel(action: Callable[[Given], Done], items: Iterable[Given]) -> list[Done]:
    """Do it for all items, some at a time; the first error ends it without waiting for the others."""
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix=THREADS)
    try:
        futures = [pool.submit(action, item) for item in items]
        for future in as_completed(futures):
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def wait_for_threads() -> None:
    """Wait for what a failure left under way, as who goes on afterwards must."""
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join()


def forget_listing(artifact: Artifact, hub: Hub) -> None:
    """Remove the library's copy of the whole listing, which somebody else's download may have left.

    With it an offline engine would refuse the folder for the files that it lacks and nobody needs.
    """
    (hub.files / artifact.folder / "trees" / f"{artifact.revision}.json").unlink(missing_ok=True)


# --- digests ------------------------------------------------------------------------------------------------


class Counter:
    """Bytes that several threads have done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, count: int) -> None:
        """Count some more."""
        with self._lock:
            self.value += count


def hashed(
    files: Sequence[Listed], where: Callable[[Listed], Path], progress: Progress
) -> list[tuple[Listed, str, str]]:
    """Hash contents, each as the hub does, and by sha256 for the manifest."""
    done = Counter()
    progress.begin("Verifying", sum(file.size for file in files), lambda: done.value)
    return in_parallel(lambda file: (file, *digests_of(where(file), file, done)), files)


def digests_of(path: Path, file: Listed, done: Counter) -> tuple[str, str]:
    """Hash one content."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size_of(path), usedforsecurity=False)
    for chunk in chunks(path, done):
        sha256.update(chunk)
        if file.in_git:
            git.update(chunk)
    return (git if file.in_git else sha256).hexdigest(), sha256.hexdigest()


def chunks(path: Path, done: Counter) -> Iterator[bytes]:
    """Read a file and count its bytes."""
    with path.open("rb") as content:
        while chunk := content.read(HASH_BYTES):
            yield chunk
            done.add(len(chunk))


def digest_of_files(files: Iterable[FileDigest]) -> str:
    """Return the digest of one artifact: of the JSON list of its [path, sha256], sorted, without blanks."""
    return digest_of_json(sorted([file.path, file.sha256] for file in files))


def digest_of_json(value: object) -> str:
    """Return `sha256:` and the digest of a value's compact JSON."""
    return "sha256:" + hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def remembered(
    artifact: Artifact, hub: Hub, progress: Progress, *, remote_code: bool
) -> tuple[FileDigest, ...] | None:
    """Return the digests of an earlier fetch, if its files are as they were and no others came.

    Who can write to the cache can write this note, too: a shared cache is trusted as far as its pods are.
    """
    try:
        noted = json.loads(note_of(artifact, hub, remote_code=remote_code).read_text())["files"]
        files = tuple(FileDigest(file["path"], file["size"], file["sha256"]) for file in noted)
        states = [file["state"] for file in noted]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    folder = hub.snapshot(artifact)
    if relevant(artifact, present(folder), remote_code=remote_code) != {file.path for file in files}:
        return None
    now = [state_of(folder / file.path) for file in files]
    doubtful = [file for file, then, state in zip(files, states, now, strict=True) if then != state]
    if None in now or not as_before(folder, doubtful, progress):
        return None
    if doubtful:
        remember(artifact, files, hub, remote_code=remote_code)
    log.info("%s was fetched and verified before", artifact)
    return files


def state_of(path: Path) -> list[int] | None:
    """Return what changes with a file, the one time that nobody can set among it; None if it is gone."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return [state.st_size, state.st_ctime_ns]


def as_before(folder: Path, files: Sequence[FileDigest], progress: Progress) -> bool:
    """Tell whether files have the digests that they had: a new owner or a restored volume changes no byte."""
    if files:
        done = Counter()
        progress.begin("Verifying", sum(file.size for file in files), lambda: done.value)
        return in_parallel(lambda file: digest_of_file(folder, file.path, done), files) == list(files)
    return True


def remember(artifact: Artifact, files: Sequence[FileDigest], hub: Hub, *, remote_code: bool) -> None:
    """Note what was verified, so that the next pod hashes nothing and needs no hub."""
    folder = hub.snapshot(artifact)
    noted = [{**asdict(file), "state": state_of(folder / file.path)} for file in files]
    write(note_of(artifact, hub, remote_code=remote_code), json.dumps({"files": noted}))


def note_of(artifact: Artifact, hub: Hub, *, remote_code: bool) -> Path:
    """Return where that is noted: a fetch with other files is another fetch."""
    kind = f"{artifact.role}-with-code" if remote_code else artifact.role
    return hub.notes(artifact) / f"{artifact.revision}.{kind}.json"


def write(path: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by the process's id: in its own pod each is the first.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    partial.write_text(text)
    partial.replace(path)


# --- folders that are mounted -------------------------------------------------------------------------------


def read_folder(artifact: Artifact, progress: Progress) -> Fetched:
    """Hash the files of a mounted volume; of a claim the digest must be the pinned one.

    The digest of an image is the kubelet's to check.
    """
    folder = Path(artifact.path or "")
    if not folder.is_dir():
        raise Failure(FETCH_FAILED, f"{artifact}: there is no folder {folder}")
    paths = sorted(present(folder))
    # A link to a folder has files that the digest does not cover, a pipe or a device no end.
    strange = next((path for path in paths if not (folder / path).is_file()), None)
    if strange is not None:
        raise Failure(ARTIFACT_MISMATCH, f"{artifact}: {strange} is neither a file nor a link to one")
    done = Counter()
    progress.begin("Verifying", sum(size_of(folder / path) for path in paths), lambda: done.value)
    files = tuple(in_parallel(lambda path: digest_of_file(folder, path, done), paths))
    found = digest_of_files(files)
    if artifact.source.startswith("pvc://") and found != artifact.revision:
        raise Failure(ARTIFACT_MISMATCH, f"{artifact}: the digest of its {len(files)} files is {found}")
    return Fetched(artifact, folder, files)


def digest_of_file(folder: Path, path: str, done: Counter) -> FileDigest:
    """Hash one file."""
    sha256, size = hashlib.sha256(), 0
    for chunk in chunks(folder / path, done):
        sha256.update(chunk)
        size += len(chunk)
    return FileDigest(path, size, sha256.hexdigest())


# --- the license --------------------------------------------------------------------------------------------


def license_of(fetched: Fetched) -> License:
    """Read what the card and the license file of an artifact say."""
    card = card_of(fetched)
    text_file = license_file(card.get("license_link"), [file.path for file in fetched.files])
    digests = {file.path: f"sha256:{file.sha256}" for file in fetched.files}
    return License(
        card=as_text(card.get("license")),
        name=as_text(card.get("license_name")),
        text_file=text_file,
        text_digest=digests[text_file] if text_file else None,
    )


def card_of(fetched: Fetched) -> Object:
    """Return the front matter of the model card; empty if there is none."""
    readme = fetched.folder / "README.md"
    if not readme.exists():
        return {}
    try:
        return metadata_load(readme) or {}
    # YAML's errors have a root of their own, and the library adds ValueError.
    except Exception as error:
        raise Failure(LICENSE_MISMATCH, f"{fetched.artifact}: the card can't be read: {error}") from error


def as_text(value: object) -> str | None:
    """Return a value of the card as text, a list as its words.

    What is no word is told by its kind: a few lines of YAML can stand for more text than a node has memory.
    """
    words = value if isinstance(value, list) else [value] if value else []
    told = (word if isinstance(word, str) else f"<{type(word).__name__}>" for word in words[:NAMES])
    return ", ".join(word[:NAME_LENGTH] for word in told) or None


def license_file(link: object, paths: Sequence[str]) -> str | None:
    """Return the file with the license's text: the one that the card links to, else the first by name."""
    linked = str(link).rsplit("/", 1)[-1]
    found = sorted(path for path in paths if LICENSE_FILE.fullmatch(path))
    return linked if linked in paths else next(iter(found), None)


def check_license(fetched: Fetched, found: License, request: Request) -> None:
    """Refuse a checkpoint whose license is not the declared one, or whose text is another."""
    if not names_license(found, request):
        said = f"the card calls its license {found.called!r}, declared is {request.license_id}"
        raise Failure(LICENSE_MISMATCH, f"{fetched.artifact}: {said}")
    if request.text_digest is None or request.text_digest == found.text_digest:
        return
    if found.text_file is None:
        raise Failure(
            LICENSE_MISMATCH, f"{fetched.artifact} ships no license text, {request.text_digest} is pinned"
        )
    said = f"{found.text_file} has the digest {found.text_digest}, pinned is {request.text_digest}"
    raise Failure(LICENSE_MISMATCH, f"{fetched.artifact}: {said}")


def names_license(found: License, request: Request) -> bool:
    """Tell whether the card agrees. A silent card does; a bare `other` agrees with any license of its own."""
    own = request.license_id.startswith("LicenseRef-")
    return found.called is None or found.called in request.license_names or (own and found.called == "other")


# --- the tokenizer ------------------------------------------------------------------------------------------


def check_fingerprint(fetched: Fetched, request: Request, probes: Path) -> None:
    """Refuse a tokenizer that cuts the probe texts otherwise than the pinned one."""
    if request.fingerprint is None:
        return
    texts = json.loads(probes.read_text())
    try:
        found = digest_of_json(token_ids(fetched.folder, texts, remote_code=request.remote_code))
    # The libraries of tokenizers raise what they like, bare Exception among it.
    except Exception as error:
        said = f"its tokenizer can't be read: {words_of(error)}"
        raise Failure(FETCH_FAILED, f"{fetched.artifact}: {said}") from error
    if found != request.fingerprint:
        said = f"the fingerprint of its tokenizer, by {reader()}, is {found}, pinned is {request.fingerprint}"
        raise Failure(TOKENIZER_CHANGED, f"{fetched.artifact}: {said}")


def token_ids(folder: Path, texts: Sequence[str], *, remote_code: bool) -> list[list[int]]:
    """Return the token ids of each text: by transformers, as in the engine, else by tokenizers alone.

    The two may differ: for some families transformers 5 takes the vocabulary and leaves the rest.
    """
    if has_transformers():
        transformers = importlib.import_module("transformers")
        read = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=remote_code)
        return [list(read(text)["input_ids"]) for text in texts]
    tokenizers = importlib.import_module("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in texts]


def has_transformers() -> bool:
    """Tell whether tokenizers are read as the engine reads them."""
    return importlib.util.find_spec("transformers") is not None


def reader() -> str:
    """Return the name and the version of what reads tokenizers."""
    name = "transformers" if has_transformers() else "tokenizers"
    return f"{name} {importlib.metadata.version(name)}"


# --- all of it ----------------------------------------------------------------------------------------------


def fetch(request: Request, hub: Hub, probes: Path, progress: Progress) -> Object:
    """Bring and check all artifacts; return the manifest, or raise what went wrong."""
    fetched = [bring_artifact(artifact, request, hub, progress) for artifact in request.artifacts]
    licenses = [license_of(one) for one in fetched]
    checkpoint = next(index for index, one in enumerate(fetched) if one.artifact.role == "checkpoint")
    check_license(fetched[checkpoint], licenses[checkpoint], request)
    tokenizer = next((one for one in fetched if one.artifact.role == "tokenizer"), fetched[checkpoint])
    check_fingerprint(tokenizer, request, probes)
    return manifest(fetched, licenses)


def bring_artifact(artifact: Artifact, request: Request, hub: Hub, progress: Progress) -> Fetched:
    """Bring one artifact from where it is; what goes wrong names it."""
    try:
        if artifact.path is not None:
            return read_folder(artifact, progress)
        return fetch_from_hub(artifact, hub, progress, remote_code=request.remote_code)
    except Failure:
        raise
    except Exception as error:
        token = "" if hub.token else " (no HF_TOKEN was given)"
        reason = reason_of(error)
        hint = token if reason == HUB_ACCESS_DENIED else ""
        raise Failure(reason, f"{artifact}{hint}: {words_of(error)}") from error


def manifest(fetched: Sequence[Fetched], licenses: Sequence[License]) -> Object:
    """Return what is in place, as it is written for the guard."""
    digests = [digest_of_files(one.files) for one in fetched]
    artifacts = [
        {
            "role": one.artifact.role,
            "source": one.artifact.source,
            "revision": one.artifact.revision,
            "digest": digest,
            "license": {
                "card": found.card,
                "name": found.name,
                "textFile": found.text_file,
                "textDigest": found.text_digest,
            },
            "files": [asdict(file) for file in sorted(one.files, key=lambda file: file.path)],
        }
        for one, found, digest in zip(fetched, licenses, digests, strict=True)
    ]
    return {"digest": digest_of_json(digests), "artifacts": artifacts}


# --- what went wrong ----------------------------------------------------------------------------------------


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it: the library wraps what the hub said."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def reason_of(error: BaseException) -> str:
    """Return the reason that the first telling error of the chain stands for."""
    return next(filter(None, map(reason_of_one, causes(error))), FETCH_FAILED)


def reason_of_one(error: BaseException) -> str | None:
    """Return what one error tells; None if nothing."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return reason_of_status(status)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return CACHE_FULL
    broken = BROKEN & {base.__name__ for base in type(error).__mro__}
    return HUB_UNAVAILABLE if broken else None


def reason_of_status(status: int) -> str:
    """Return what an HTTP status of the hub means."""
    known = {401: HUB_ACCESS_DENIED, 403: HUB_ACCESS_DENIED, 404: REVISION_NOT_FOUND, 429: HUB_RATE_LIMITED}
    return known.get(status, HUB_UNAVAILABLE if status >= 500 else FETCH_FAILED)  # noqa: PLR2004 -- 5xx


def words_of(error: BaseException) -> str:
    """Return what the telling error of the chain says."""
    telling = next((cause for cause in causes(error) if reason_of_one(cause)), error)
    return plain(f"{telling}") or type(telling).__name__


def plain(text: str) -> str:
    """Return a text as one line without secrets, and without what would move a terminal's cursor.

    Addresses of storage are signed in their query; mirrors and proxies have passwords in theirs.
    """
    if token := os.environ.get("HF_TOKEN"):
        text = text.replace(token, "...")
    text = re.sub(r"\b([a-z][a-z0-9+.-]*://)[^/\s@]+@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\?[^\s'\"]*=[^\s'\"]*", "", text)
    text = re.sub(r"\bhf_\w+", "hf_...", text)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class OneLine(logging.Formatter):
    """The log: JSON lines, also of what the library says."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = {"time": at, "level": record.levelname.lower(), "event": plain(record.getMessage())}
        if record.exc_info:
            line["traceback"] = plain(self.formatException(record.exc_info))
        return json.dumps(line)


def set_up_log() -> None:
    """Log to stdout, the library's warnings too."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    library = logging.getLogger("huggingface_hub")
    library.handlers.clear()
    library.propagate = True


def report(failure: Failure, path: Path) -> None:
    """Write the end's reason where the kubelet reads it."""
    message = plain(str(failure))
    while len(text := json.dumps({"reason": failure.reason, "message": message})) > MESSAGE_BYTES:
        message = message[: len(message) * 9 // 10]
    log.error("%s: %s", failure.reason, message)
    path.write_text(text)


def run(environment: Mapping[str, str]) -> Failure | None:
    """Do what the environment says; return why it could not be done."""
    progress = Progress()
    serve(progress, int(environment.get("PILOTHOUSE_FETCH_PORT", "8000")))
    try:
        request = Request.parse(environment["PILOTHOUSE_FETCH"])
        probes = Path(__file__).with_name("probes.json")
        found = fetch(request, Hub.from_environment(environment), probes, progress)
        write(Path(environment["PILOTHOUSE_RUN"]) / "manifest.json", json.dumps(found))
    except Failure as failure:
        return failure
    # The edge of this program: whatever it was, the status must say it.
    except Exception as error:
        log.exception("the fetch failed")
        return Failure(FETCH_FAILED, f"{type(error).__name__}: {words_of(error)}")
    log.info("fetched and verified: %s", found["digest"])
    return None


def main() -> None:
    """Run in the init container."""
    set_up_log()
    failure = run(os.environ)
    if failure is not None:
        report(failure, Path(os.environ.get("PILOTHOUSE_TERMINATION_LOG", "/dev/termination-log")))
    sys.stdout.flush()
    # Downloads that are still under way after a failure are not waited for.
    os._exit(0 if failure is None else 1)


if __name__ == "__main__":
    main()
