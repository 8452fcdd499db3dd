"""What the sequential test remembers between two samples; see plan/analysis.py."""

from pilothouse.api.common import Status


class AnalysisStatus(Status):
    """The state of the test, small enough for a status."""
