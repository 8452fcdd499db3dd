"""What is asked of a Prometheus for one rollout, and what its answers become."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from pilothouse.api.rolloutpolicy import Analysis
from pilothouse.observe.http import open_session
from pilothouse.observe.measured import Measured
from pilothouse.observe.prometheus import Prometheus, Question
from pilothouse.observe.promql import PromQL
from pilothouse.plan.observed import Object, ObjectKey
from unit.observe.engines import pod, serving

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CANARY, STABLE = pod("10.0.0.1", "bbbbbbbbbb"), pod("10.0.0.2", "aaaaaaaaaa")
TOKENS = "vllm:prompt_tokens_total"
REFUSED = {
    "name": "refused",
    "maxIncrease": 0.02,
    "prometheus": {"bad": 'bad{r="$revision"}', "total": 'total{r="$revision"}'},
}
Answers = Callable[[str], list[Object]]


def series(value: object, **labels: str) -> Object:
    """One series of a vector."""
    return {"metric": labels, "value": [1795485600, str(value)]}


def of(of_pod: Object, value: object, **labels: str) -> Object:
    """A counter of a pod, as the documented scrape configuration labels it."""
    scrape = {"job": "engines", "instance": "10.0.0.1:8000", "pod": of_pod["metadata"]["name"]}
    return series(value, **{"__name__": TOKENS, "engine": "0", "model_name": "tiny", **scrape, **labels})


async def ask(
    answers: Answers, *pods: Object, source: str = "Prometheus", checks: tuple[Object, ...] = ()
) -> Measured:
    """Ask a Prometheus that gives these series for a query."""

    async def answer(request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        data = {"resultType": "vector", "result": answers(query)}
        return web.Response(text=json.dumps({"status": "success", "data": data}))

    async with serving({"127.0.0.1": answer}) as port, open_session() as session:
        analysis = Analysis.model_validate(
            {"source": source, "prometheus": {"url": f"http://127.0.0.1:{port}"}, "checks": checks}
        )
        assert analysis.prometheus
        question = Question(
            deployment=ObjectKey("ModelDeployment", "team-ide", "qwen-coder"),
            analysis=analysis,
            pods=pods,
            revisions=("bbbbbbbbbb", "aaaaaaaaaa"),
        )
        prometheus = Prometheus(PromQL(session, _no_token, 5), lambda: NOW, 5)
        return await prometheus(question, analysis.prometheus)


async def _no_token(_: str) -> str:
    raise AssertionError("no Secret is named")


async def test_each_pod_is_one_reading_by_its_uid() -> None:
    measured = await ask(lambda _: [of(CANARY, 7), of(STABLE, 9)], CANARY, STABLE)
    assert [(each.pod, each.revision, each.counters[TOKENS], each.at) for each in measured.readings] == [
        ("10.0.0.1", "bbbbbbbbbb", 7, NOW),
        ("10.0.0.2", "aaaaaaaaaa", 9, NOW),
    ]
    assert measured.unread == {}


async def test_engines_of_one_pod_are_added_up() -> None:
    [reading] = (await ask(lambda _: [of(CANARY, 7), of(CANARY, 1, engine="1")], CANARY)).readings
    assert reading.counters[TOKENS] == 8


async def test_a_pod_that_two_jobs_scrape_is_counted_once_and_always_by_the_same() -> None:
    both = [of(CANARY, 7, job="b"), of(CANARY, 6, job="a")]
    for answer in (both, both[::-1]):
        [reading] = (await ask(lambda _, answer=answer: answer, CANARY)).readings
        assert reading.counters[TOKENS] == 6


async def test_a_pod_that_is_not_scraped_is_unread() -> None:
    measured = await ask(lambda _: [of(CANARY, 7)], CANARY, STABLE)
    assert measured.unread == {"10.0.0.2": "Prometheus has no series of this pod"}


async def test_only_the_pods_in_question_are_asked_for() -> None:
    queries: list[str] = []

    def answers(query: str) -> list[Object]:
        queries.append(query)
        return []

    await ask(answers, CANARY, STABLE)
    [query] = queries
    assert 'pod=~"p-10.0.0.1|p-10.0.0.2"' in query
    assert 'namespace="team-ide",pilothouse_dev_deployment="qwen-coder"' in query
    names = re.search(r'__name__=~"(.*?)"', query)
    assert names
    assert {TOKENS, "http_requests_total", "vllm:time_to_first_token_seconds_bucket"} < {*names[1].split("|")}


async def test_a_prometheus_that_is_away_is_said_and_is_no_reading() -> None:
    question = Question(
        deployment=ObjectKey("ModelDeployment", "team-ide", "qwen-coder"),
        analysis=Analysis.model_validate(
            {"source": "Prometheus", "prometheus": {"url": "http://127.0.0.1:1"}}
        ),
        pods=[CANARY],
        revisions=("bbbbbbbbbb",),
    )
    assert question.analysis.prometheus
    async with open_session() as session:
        prometheus = Prometheus(PromQL(session, _no_token, 5), lambda: NOW, 5)
        measured = await prometheus(question, question.analysis.prometheus)
    assert measured == Measured(unread={"": "Prometheus: can't connect: Connection refused"})


def checked(**found: Any) -> Answers:
    """Answer the check's two queries of each revision."""

    def answers(query: str) -> list[Object]:
        name, revision = re.fullmatch(r'(\w+){r="(.)\2*"}', query).groups()  # type: ignore[union-attr]
        value = found.get(f"{name}_{revision}", found.get(name))
        return value if isinstance(value, list) else [] if value is None else [series(value)]

    return answers


async def test_a_check_with_queries_of_its_own_is_asked_for_both_revisions_with_either_source() -> None:
    answers = checked(bad_b=3, total_b=10, bad_a=1, total_a=90)
    measured = await ask(answers, CANARY, STABLE, source="Scrape", checks=(REFUSED,))
    assert [(each.pod, each.revision, each.queries) for each in measured.readings] == [
        ("", "bbbbbbbbbb", {"refused": (3, 10)}),
        ("", "aaaaaaaaaa", {"refused": (1, 90)}),
    ]


@pytest.mark.parametrize("value", [None, "NaN"])
async def test_a_check_without_both_numbers_is_left_out(value: object) -> None:
    measured = await ask(checked(bad=value, total=10), source="Scrape", checks=(REFUSED,))
    assert measured == Measured()


async def test_a_check_that_gives_several_series_is_said_by_name() -> None:
    answers = checked(bad_b=[series(1), series(2)], bad_a=1, total=10)
    measured = await ask(answers, source="Scrape", checks=(REFUSED,))
    assert [(each.revision, each.queries) for each in measured.readings] == [
        ("aaaaaaaaaa", {"refused": (1, 10)})
    ]
    assert measured.unread == {
        "": "check refused of revision bbbbbbbbbb: the query gives 2 series instead of one"
    }
