"""Keeps `pilothouse_model_info` true: a series goes with what it told of, and all go with the leadership.

Two replicas that both told of a model would make every join with it ambiguous, so only the one that writes
does.
"""

from collections.abc import Hashable, Iterable

from pilothouse.telemetry.metrics import MODEL_INFO

Labels = tuple[str, ...]
"""The values of `metrics.MODEL_LABELS`, in their order."""


class Models:
    """The series in force, by ModelDeployment."""

    def __init__(self) -> None:
        self._shown: dict[Hashable, frozenset[Labels]] = {}

    def show(self, key: Hashable, series: Iterable[Labels]) -> None:
        """Tell of exactly these for one ModelDeployment."""
        now = frozenset(series)
        before = self._shown.pop(key, frozenset())
        for gone in before - now:
            MODEL_INFO.remove(*gone)
        for labels in now:
            MODEL_INFO.labels(*labels).set(1)
        if now:
            self._shown[key] = now

    def clear(self) -> None:
        """Tell of none: another replica does."""
        for key in list(self._shown):
            self.show(key, ())
