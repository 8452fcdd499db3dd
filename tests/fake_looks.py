"""Looks at engines for tests that have none."""

from pilothouse.observe.gather import Looks
from pilothouse.observe.measured import Measured


async def _nothing(*_: object) -> Measured:
    return Measured()


NO_LOOKS = Looks(measure=_nothing, preflights=lambda _: {})
