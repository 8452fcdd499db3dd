"""The engines' counters as last read; see plan/sampling.py."""

from pilothouse.api.common import Status


class SamplingStatus(Status):
    """What the next reading is compared with."""
