"""Asks a Prometheus the two queries of each check that has its own."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pilothouse.api.rolloutpolicy import Prometheus as Server
from pilothouse.api.rolloutpolicy import Queries
from pilothouse.errors import Unreadable
from pilothouse.observe.measured import Measured
from pilothouse.observe.promql import PromQL
from pilothouse.plan.readings import Reading

_REVISION: Final = "$revision"


async def measure(
    promql: PromQL, server: Server, checks: Mapping[str, Queries], revision: str, at: datetime
) -> Measured:
    """Return one reading for the whole revision, in which a check without both numbers is left out.

    A check whose queries can't be answered is said by its name.
    """
    answers = await asyncio.gather(*(_ask(promql, server, each, revision) for each in checks.values()))
    queries, errors = {}, []
    for name, answer in zip(checks, answers, strict=True):
        if isinstance(answer, str):
            errors.append(f"check {name} of revision {revision}: {answer}")
        elif answer:
            queries[name] = answer
    readings = (Reading(pod="", revision=revision, at=at, queries=queries),) if queries else ()
    return Measured(readings, {"": "; ".join(errors)} if errors else {})


async def _ask(
    promql: PromQL, server: Server, queries: Queries, revision: str
) -> tuple[float, float] | str | None:
    """Return bad and all events, None where one of them has no number, or what is wrong."""
    texts = (text.replace(_REVISION, revision) for text in (queries.bad, queries.total))
    try:
        bad, total = await asyncio.gather(*(promql.number(server, text) for text in texts))
    except Unreadable as error:
        return str(error)
    return None if bad is None or total is None else (bad, total)
