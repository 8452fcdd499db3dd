"""What a test asks the hub to do wrong, or to hold otherwise, per repository."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

Object = dict[str, Any]


@dataclass
class Fault:
    """One JSON object of POST /_hub/faults; several may hold at once, and the oldest that fits acts first."""

    repository: str = "*"
    """A pattern of `owner/name`."""
    path: str = "*"
    """A pattern of file paths; the listing of a repository has the path `/tree`, its card `/info`."""
    count: int | None = None
    """How many times it acts; always, if not given."""

    status: int | None = None
    """Answer this instead: 401, 403, 404, 429, 500, 503."""
    message: str | None = None
    """The hub's words with `status`."""
    retry_after: int | None = None
    """Seconds, with 429."""
    missing: str | None = None
    """`repository`, `revision` or `entry`: which of them a 404 means."""
    down: bool = False
    """The connection ends without an answer."""
    slow: int | None = None
    """Bytes per second of each body."""
    cut: int | None = None
    """The connection breaks after this many bytes of a longer body."""
    corrupt: bool = False
    """The body has other bytes than its digest says."""

    gated: bool = False
    """Files need `token`; the listing does not, as at the real hub."""
    token: str | None = None
    """The bearer token that opens a gated repository."""
    weights: int | None = None
    """Size of the weights in bytes."""
    loadable: bool = False
    """Have weights that a real engine can load."""
    license: str | None = None
    """`license` of the card; an empty text takes it out."""
    license_name: str | None = None
    """`license_name` of the card."""
    license_text: str | None = None
    """The whole text of LICENSE; an empty text takes the file out."""
    tokenizer: str | None = None
    """`code`, `prose` or `qwen2`."""
    head: str | None = None
    """The commit of the branch `main`."""
    card: str | None = None
    """The whole of README.md, for what no well-formed card says."""
    entries: list[Object] | None = None
    """What the listing has besides the files."""

    def fits(self, repository: str, path: str) -> bool:
        """Whether it is about this path of this repository, and has not acted `count` times."""
        left = self.count is None or self.count > 0
        return left and fnmatchcase(repository, self.repository) and fnmatchcase(path, self.path)

    def spend(self) -> None:
        """Count one act."""
        if self.count is not None:
            self.count -= 1


class Faults:
    """All faults in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, given: Object) -> None:
        """Put one in force; TypeError for a field that no fault has."""
        self._faults.append(Fault(**given))

    def clear(self, repository: str | None = None) -> None:
        """Be well again; with the pattern that some faults were given, only of those."""
        self._faults = [fault for fault in self._faults if repository not in (None, fault.repository)]

    def first(self, field: str, repository: str, path: str) -> Fault | None:
        """The oldest fault of this kind that fits."""
        fitting = (fault for fault in self._faults if fault.fits(repository, path))
        return next((fault for fault in fitting if is_set(fault, field)), None)

    def shape(self, repository: str) -> Object:
        """What the repository holds otherwise than by default; the newest word wins."""
        shaping = [fault for fault in self._faults if fnmatchcase(repository, fault.repository)]
        return {name: value for fault in shaping for name, value in shaped(fault)}


SHAPES = ("weights", "loadable", "license", "license_name", "license_text", "tokenizer", "card")
DEFAULTS = {field.name: field.default for field in fields(Fault)}


def is_set(fault: Fault, field: str) -> bool:
    """Whether a test gave this field."""
    return bool(getattr(fault, field) != DEFAULTS[field])


def shaped(fault: Fault) -> Iterator[tuple[str, object]]:
    """The fields that say what a repository holds."""
    return ((name, getattr(fault, name)) for name in SHAPES if is_set(fault, name))
