"""What Prometheus says of engines is what they say themselves, through restarts and losses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from integration.prometheus import PrometheusServer, discovered
from integration.simulated import Simulated, free_port
from pilothouse.api.rolloutpolicy import Analysis
from pilothouse.observe.http import open_session
from pilothouse.observe.measured import Measured
from pilothouse.observe.prometheus import Prometheus, Question
from pilothouse.observe.promql import PromQL
from pilothouse.observe.vllm import Engines
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.readings import Reading

MODEL = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
LENGTH = "vllm:request_success_total/length"
SECONDS = 30


def pod(address: str, revision: str) -> Object:
    """A pod of the model at an address of loopback."""
    return {
        "metadata": {
            "name": f"qwen-coder-{revision}-{address[-1]}",
            "namespace": MODEL.namespace,
            "uid": f"uid-{address}",
            "labels": {"pilothouse.dev/revision": revision},
        },
        "status": {"podIP": address},
    }


CANARY, STABLE = pod("127.0.0.5", "bbbbbbbbbb"), pod("127.0.0.6", "aaaaaaaaaa")
PODS = (CANARY, STABLE)


@dataclass
class Stage:
    """Two engines, and a Prometheus that two jobs let scrape both."""

    port: int
    engines: dict[str, Simulated]
    server: PrometheusServer
    http: aiohttp.ClientSession

    def start(self, of: Object) -> None:
        """Start the engine of a pod."""
        address = of["status"]["podIP"]
        self.engines[address] = Simulated(address, self.port, "--served-model-name", "coder")
        self.engines[address].wait_ready()

    def stop(self, of: Object) -> None:
        """End the engine of a pod."""
        self.engines[of["status"]["podIP"]].stop()

    async def complete(self, of: Object, **changes: Any) -> int:
        """Send one completion to a pod and return the HTTP status."""
        url = f"http://{of['status']['podIP']}:{self.port}/v1/completions"
        body = {"model": "coder", "prompt": "def f(x):", "max_tokens": 3, "ignore_eos": True, **changes}
        # A connection that was kept may lead to an engine that was stopped.
        async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
            await answer.read()
            return answer.status

    async def scrape(self) -> Measured:
        """Read both pods directly."""
        return await Engines(self.http, _now, 5, self.port)(PODS)

    async def ask(self, **analysis: Any) -> Measured:
        """Read both pods from Prometheus."""
        settings = {"source": "Prometheus", "prometheus": {"url": self.server.url}, **analysis}
        question = Question(MODEL, Analysis.model_validate(settings), PODS, ("bbbbbbbbbb", "aaaaaaaaaa"))
        assert question.analysis.prometheus
        promql = PromQL(self.http, _no_token, 5)
        return await Prometheus(promql, _now, 5)(question, question.analysis.prometheus)

    async def ask_until(self, holds: Callable[[Measured], bool], **analysis: Any) -> Measured:
        """Ask until Prometheus has scraped what is waited for."""
        async with asyncio.timeout(SECONDS):
            while not holds(measured := await self.ask(**analysis)):  # noqa: ASYNC110 -- it is polled
                await asyncio.sleep(0.2)
        return measured

    async def ask_until_it_agrees(self) -> dict[str, Reading]:
        """Ask until every pod's reading is what the pod says itself; return them by revision."""
        said = _comparable(await self.scrape())
        assert len(said) == len(PODS)
        return _comparable(await self.ask_until(lambda measured: _comparable(measured) == said))


def _comparable(measured: Measured) -> dict[str, Reading]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        reading.revision: replace(reading, at=moment, fresh=True)
        for reading in measured.readings
        if reading.pod
    }


def _now() -> datetime:
    return datetime.now(UTC)


async def _no_token(_: str) -> str:
    raise AssertionError("no Secret is named")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, Simulated], Any]]:
    """All processes, for all tests."""
    port, engines = free_port(), dict[str, Simulated]()
    targets = [discovered(each, MODEL.name, port) for each in PODS]
    with ExitStack() as stack:
        server = PrometheusServer(
            tmp_path_factory.mktemp("prometheus"), targets, ["pilothouse-engines", "everything"]
        )
        stack.callback(server.stop)
        stack.callback(lambda: [engine.stop() for engine in engines.values()])
        yield port, engines, server


@pytest.fixture
async def stage(processes: tuple[int, dict[str, Simulated], Any]) -> AsyncIterator[Stage]:
    """Both engines, each begun anew."""
    port, engines, server = processes
    async with open_session() as http:
        stage = Stage(port, engines, server, http)
        for each in PODS:
            if each["status"]["podIP"] in engines:
                stage.stop(each)
            stage.start(each)
        yield stage


async def test_prometheus_says_what_the_engines_say(stage: Stage) -> None:
    for _ in range(3):
        assert await stage.complete(CANARY) == 200
    assert await stage.complete(STABLE) == 200
    assert await stage.complete(STABLE, max_tokens=-1) == 400
    readings = await stage.ask_until_it_agrees()
    assert {revision: reading.counters[LENGTH] for revision, reading in readings.items()} == {
        "bbbbbbbbbb": 3,
        "aaaaaaaaaa": 1,
    }
    assert readings["aaaaaaaaaa"].counters["http_requests_total/4xx"] == 1
    assert readings["bbbbbbbbbb"].histograms["vllm:time_to_first_token_seconds"].counts[-1] == 3


async def test_an_engine_that_began_anew_is_seen_to_have_done_so(stage: Stage) -> None:
    await stage.complete(CANARY)
    await stage.complete(CANARY)
    before = (await stage.ask_until_it_agrees())["bbbbbbbbbb"]
    stage.stop(CANARY)
    stage.start(CANARY)
    await stage.complete(CANARY)
    after = (await stage.ask_until_it_agrees())["bbbbbbbbbb"]
    assert (before.counters[LENGTH], after.counters[LENGTH]) == (2, 1)
    started = "process_start_time_seconds"
    assert after.gauges[started] > before.gauges[started]


async def test_a_pod_that_has_vanished_is_unread(stage: Stage) -> None:
    await stage.ask_until_it_agrees()
    stage.stop(CANARY)
    measured = await stage.ask_until(lambda measured: bool(measured.unread))
    assert measured.unread == {"uid-127.0.0.5": "Prometheus has no series of this pod"}
    assert [reading.revision for reading in measured.readings] == ["aaaaaaaaaa"]


def check(bad: str) -> Object:
    """A check with queries of its own."""
    ours = 'job="pilothouse-engines",pilothouse_dev_revision="$revision"'
    total = f"sum(vllm:request_success_total{{{ours}}})"
    queries = {"bad": bad.replace("OURS", ours), "total": total}
    return {"name": "mine", "maxIncrease": 0.1, "prometheus": queries}


async def test_a_check_with_its_own_queries_is_measured_for_both_revisions(stage: Stage) -> None:
    await stage.complete(CANARY)
    await stage.complete(CANARY)
    mine = check('sum(vllm:request_success_total{finished_reason="length",OURS})')
    counted = {"bbbbbbbbbb": {"mine": (2.0, 2.0)}, "aaaaaaaaaa": {"mine": (0.0, 0.0)}}
    await stage.ask_until(
        lambda measured: {reading.revision: reading.queries for reading in measured.readings} == counted,
        source="Scrape",
        checks=[mine],
    )


async def test_a_query_that_gives_nothing_or_no_number_leaves_the_check_out(stage: Stage) -> None:
    for query in ("no_such_series{OURS}", "vector(0) / vector(0)"):
        assert await stage.ask(source="Scrape", checks=[check(query)]) == Measured()


async def test_a_query_that_gives_several_series_is_said(stage: Stage) -> None:
    said = "check mine of revision bbbbbbbbbb: the query gives 5 series instead of one"
    await stage.ask_until(
        lambda measured: said in measured.unread.get("", ""),
        source="Scrape",
        checks=[check("vllm:request_success_total{OURS}")],
    )


async def test_a_query_that_can_not_be_read_is_said_in_prometheus_words(stage: Stage) -> None:
    unreadable = await stage.ask(source="Scrape", checks=[check("sum(")])
    assert "check mine of revision bbbbbbbbbb: HTTP 400: " in unreadable.unread[""]
    assert "parse error" in unreadable.unread[""]
