"""How far the fetches of a ModelDeployment's pods have come, asked over HTTP."""

import json
from typing import Any

from pilothouse.api.modeldeploymentstatus import FetchStatus
from pilothouse.observe.fetches import Fetches
from pilothouse.observe.http import open_session
from pilothouse.plan.observed import Object
from unit.observe.engines import Answer, pod, says, serving


def fetching(address: str, **state: Any) -> Object:
    """A pod at an address whose fetch is in this state, running if none is given."""
    state = state or {"running": {}}
    found = pod(address)
    return {
        **found,
        "status": {**found["status"], "initContainerStatuses": [{"name": "fetch", "state": state}]},
    }


def progress(done: int, total: int) -> Answer:
    """Say so much is there."""
    told = {"phase": "Downloading", "bytes": done, "totalBytes": total, "bytesPerSecond": 7}
    return says(json.dumps(told))


async def asked(answers: dict[str, Answer], *pods: Object) -> FetchStatus | None:
    async with serving(answers) as port, open_session() as session:
        return await Fetches(session, seconds=0.5, port=port)(pods)


async def test_the_pod_that_has_the_most_to_do_is_told() -> None:
    answers = {"127.0.0.1": progress(90, 100), "127.0.0.2": progress(10, 100)}

    assert await asked(answers, fetching("127.0.0.1"), fetching("127.0.0.2")) == FetchStatus(
        pod="p-127.0.0.2", phase="Downloading", bytes=10, total_bytes=100, bytes_per_second=7
    )


async def test_a_pod_whose_fetch_is_over_is_not_asked() -> None:
    over = fetching("127.0.0.1", terminated={"exitCode": 0})

    assert await asked({"127.0.0.1": progress(1, 2)}, over, pod("127.0.0.1")) is None


async def test_who_does_not_answer_or_talks_nonsense_is_passed_over() -> None:
    answers = {"127.0.0.1": says("<html>"), "127.0.0.2": progress(1, 2), "127.0.0.3": says("{}")}
    pods = [fetching(f"127.0.0.{number}") for number in range(1, 5)]

    told = await asked(answers, *pods)
    assert told
    assert told.pod == "p-127.0.0.2"
