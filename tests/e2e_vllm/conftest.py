"""The installed operator and a team's namespace, as in the tests of the stand-in engine."""

from e2e.fixtures import lane, operator, teams

__all__ = ["lane", "operator", "teams"]
