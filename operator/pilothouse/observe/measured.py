"""What one look at the engines brought, wherever it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.plan.readings import Reading


@dataclass(frozen=True, slots=True)
class Measured:
    """The readings, and by pod uid why there is none; an empty uid stands for Prometheus."""

    readings: tuple[Reading, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: "Measured") -> "Measured":
        return Measured(self.readings + other.readings, {**self.unread, **other.unread})
