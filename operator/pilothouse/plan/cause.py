"""Why something is not as declared: the reason that people look up, and a sentence that names the field."""

from dataclasses import dataclass

from pilothouse.names import Reason


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason, and what a person needs to know to act on it."""

    reason: Reason
    message: str
