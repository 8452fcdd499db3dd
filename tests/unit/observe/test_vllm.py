"""Engines are read over HTTP; the servers are real, the pages are what vLLM printed."""

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from pilothouse.observe.http import open_session
from pilothouse.observe.measured import Measured
from pilothouse.observe.vllm import Engines
from pilothouse.plan.observed import Object
from unit.observe.engines import Answer, free_port, pod, says, serving

NOW = datetime(2026, 11, 24, tzinfo=UTC)
RECORDED = (Path(__file__).parents[2] / "contract" / "data" / "metrics-0.32.0.txt").read_text()


async def scrape(answers: dict[str, Answer], *pods: Object, seconds: float = 5.0) -> Measured:
    """Read these pods, or one at each address, while the servers answer."""
    async with serving(answers) as port, open_session() as session:
        return await Engines(session, lambda: NOW, seconds, port)(pods or [*map(pod, answers)])


async def test_each_pod_is_one_reading() -> None:
    scraped = await scrape({"127.0.0.1": says(RECORDED), "127.0.0.2": says(RECORDED)})
    assert [(reading.pod, reading.revision, reading.at) for reading in scraped.readings] == [
        ("127.0.0.1", "canary", NOW),
        ("127.0.0.2", "canary", NOW),
    ]
    assert scraped.readings[0].counters["vllm:prompt_tokens_total"] == 16
    assert scraped.unread == {}


async def test_pods_are_read_at_the_same_time() -> None:
    both_asked = asyncio.Barrier(2)

    async def wait_for_the_other(_: web.Request) -> web.Response:
        await both_asked.wait()
        return web.Response(text=RECORDED)

    scraped = await scrape({"127.0.0.1": wait_for_the_other, "127.0.0.2": wait_for_the_other})
    assert len(scraped.readings) == 2


async def test_a_pod_that_hangs_is_given_up_and_costs_the_others_nothing() -> None:
    hung = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await hung.wait()
        return web.Response()

    scraped = await scrape({"127.0.0.1": hang, "127.0.0.2": says(RECORDED)}, seconds=0.2)
    assert [reading.pod for reading in scraped.readings] == ["127.0.0.2"]
    assert scraped.unread == {"127.0.0.1": "no answer within 0.2 s"}


async def test_a_page_that_never_ends_is_cut_off() -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"# " + b"x" * 65_536 + b"\n")
        return response

    scraped = await scrape({"127.0.0.1": flood})
    assert scraped.unread == {"127.0.0.1": "the answer is larger than 2000000 bytes"}


async def test_a_pod_that_is_gone_says_why() -> None:
    scraped = await scrape({"127.0.0.1": says(RECORDED)}, pod("127.0.0.2"))
    assert scraped.unread == {"127.0.0.2": "can't connect: Connection refused"}


async def test_an_error_page_is_no_reading() -> None:
    scraped = await scrape({"127.0.0.1": says("engine dead", 500)})
    assert scraped.unread == {"127.0.0.1": "/metrics answers HTTP 500"}


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.2/metrics")

    scraped = await scrape({"127.0.0.1": elsewhere, "127.0.0.2": says(RECORDED)}, pod("127.0.0.1"))
    assert scraped.unread == {"127.0.0.1": "/metrics answers HTTP 302"}


async def test_a_broken_page_is_no_reading() -> None:
    scraped = await scrape({"127.0.0.1": says('vllm:num_preemptions_total{engine="0"} many\n')})
    assert scraped.unread == {"127.0.0.1": "/metrics is not in Prometheus' text format"}


async def test_a_connection_that_breaks_off_is_no_reading() -> None:
    async def break_off(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    scraped = await scrape({"127.0.0.1": break_off})
    assert scraped.readings == ()
    assert scraped.unread["127.0.0.1"].startswith("the connection failed")


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert (await scrape({"127.0.0.1": says(RECORDED)})).unread == {}


async def test_an_engine_at_an_ipv6_address_is_read() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert [reading.pod for reading in (await scrape({"::1": says(RECORDED)})).readings] == ["::1"]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
