"""The errors that Pilothouse raises itself, as one tree.

    PilothouseError
    ├── Retryable                   the network, a timeout, 429, 5xx: the same request may succeed later
    │   ├── Conflict                409: the object is not what it was thought to be; look again
    │   │   └── Outdated            the object has changed since it was decided about
    │   ├── Unreadable              an engine or a Prometheus gave no measurement
    │   └── Unreachable             an engine took no connection
    ├── MalformedExpression         a license is no SPDX expression
    └── Terminal                    another 4xx: the same request will be refused again
        ├── NotFound                404: the object, its namespace or its kind is not there
        ├── NamespaceTerminating    the namespace is going away, and the object with it
        ├── WrongAnswer             an engine answered as no sound engine does
        │   └── OtherTokens         its tokenizer is not the one that it must be
        └── NothingToDo             a person's command speaks of nothing that is there

Any other exception that reaches a reconcile is a defect; it is caught, counted and logged at one edge, in
`control.controllers`.
"""


class PilothouseError(Exception):
    """The base of the tree."""


class Retryable(PilothouseError):  # noqa: N818 -- the name is the outcome
    """The same request may succeed later; `retry_after` is the server's wish in seconds, if it has one."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(Retryable):
    """The object is another one, or belongs to someone else, or changed meanwhile."""


class Outdated(Conflict):
    """The object has changed since it was decided about."""


class Unreadable(Retryable):
    """An engine or a Prometheus gave no measurement; the message says why in a few words."""


class Unreachable(Retryable):
    """The engine took no connection: it is not up, it is gone, or the network is cut."""


class MalformedExpression(PilothouseError):  # noqa: N818 -- the name is what the text is
    """A license is no SPDX expression; the message says why, in the words of the library that reads it."""


class Terminal(PilothouseError):  # noqa: N818 -- the name is the outcome
    """The server refused the request; it is refused again until something else changes."""


class NotFound(Terminal):
    """The object, its namespace or its kind is not there."""


class NamespaceTerminating(Terminal):
    """The namespace is being deleted, so nothing can be created in it."""


class WrongAnswer(Terminal):
    """The engine answered as no sound one does; the message says how, without what it generated."""


class OtherTokens(WrongAnswer):
    """The engine's tokenizer is not the one that it must be; the message shows where."""


class NothingToDo(Terminal):
    """A person's command speaks of nothing that is there; the message says what is."""
