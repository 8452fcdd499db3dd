"""What a client gets, and what the log says of it, when all goes well."""

import json
from collections.abc import Callable

from unit.guard.standin import IDENTITY, PINS, Setup

Guarded = Callable[..., Setup]


async def test_an_answer_carries_the_pins_and_its_request_id(guarded: Guarded) -> None:
    answer = await guarded().complete(headers={"x-request-id": "mine-1"})
    assert answer.status == 200
    assert answer.headers.items() >= PINS.items()
    assert answer.headers["x-request-id"] == "mine-1"
