"""Looks at engines for tests that have none, and an installation that gives pods nothing."""

from pilothouse.observe.gather import Installation, Looks
from pilothouse.observe.measured import Measured


async def _nothing(*_: object) -> Measured:
    return Measured()


async def _no_fetch(_: object) -> None:
    return None


async def none_reachable(_: object) -> dict[str, int]:
    """No Service names a pod."""
    return {}


NO_LOOKS = Looks(measure=_nothing, recent=lambda _: None, preflights=lambda _: {}, fetches=_no_fetch)
BARE = Installation(pod_files={}, hub="")
