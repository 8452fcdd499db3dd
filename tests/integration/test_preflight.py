"""The preflight against processes of vllm-sim, healthy and broken in every way that it looks for."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from integration.simulated import TESTS, Simulated, free_port
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.guard import pilothouse_guard
from pilothouse.names import REVISION
from pilothouse.observe.engineapi import EngineApi
from pilothouse.observe.http import open_session
from pilothouse.observe.preflight import Patience, Preflighter
from pilothouse.observe.vllm import Engines, base_url
from pilothouse.plan.observed import Object
from pilothouse.plan.preflight import Expected, Preflight
from pilothouse.plan.probes import PROBES, fingerprint

CANARY, STABLE, NOBODY, GUARDED = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
MAX_INPUT, MAX_OUTPUT = 256, 2000
EXPECTED = Expected(
    served_name="coder",
    stable_name="coder",
    max_input_tokens=MAX_INPUT,
    max_output_tokens=MAX_OUTPUT,
    fingerprint=None,
    keeps_tokenizer=True,
)
PATIENCE = Patience(seconds=20, freed_seconds=1)
IMPATIENCE = Patience(seconds=2, freed_seconds=1, tokens_per_second=10_000)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def engines(port: int) -> Iterator[dict[str, Simulated]]:
    """Canary's and stable's engine, alike."""
    with ExitStack() as stack:
        flags = ("--served-model-name", "coder", "--max-model-len", str(EXPECTED.cap))
        started = {address: Simulated(address, port, *flags) for address in (CANARY, STABLE)}
        for engine in started.values():
            stack.callback(engine.stop)
            engine.wait_ready()
        yield started


@pytest.fixture
def canary(engines: dict[str, Simulated]) -> Iterator[Simulated]:
    yield engines[CANARY]
    engines[CANARY].break_()


@pytest.fixture
def guarded(port: int, tmp_path: Path) -> Iterator[str]:
    """The address of an engine whose guard knows its callers, and what they may spend: nothing."""
    limits = {"maxInputTokens": MAX_INPUT, "maxOutputTokens": MAX_OUTPUT, "timeoutSeconds": 20}
    content = {
        "identity": {},
        "requests": limits,
        "concurrency": {"perReplica": 8},
        "callers": "Known",
        "tenants": {"team-ide": {"concurrentRequests": 0, "perMinute": {"requests": 0, "inputTokens": 0}}},
    }
    (tmp_path / "settings.json").write_text(json.dumps(content))
    (tmp_path / "probes.json").write_text(json.dumps(PROBES))
    flags = ("--served-model-name", "coder", "--max-model-len", str(EXPECTED.cap))
    environment = {
        "PILOTHOUSE_SETTINGS": str(tmp_path / "settings.json"),
        "PYTHONPATH": f"{TESTS}:{Path(pilothouse_guard.__file__).parent}",
    }
    engine = Simulated(GUARDED, port, *flags, "--middleware=pilothouse_guard.Guard", environment=environment)
    try:
        engine.wait_ready()
        yield GUARDED
    finally:
        engine.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
def preflighter(session: aiohttp.ClientSession, port: int, canary: Simulated) -> Preflighter:  # noqa: ARG001
    scrape = Engines(session, lambda: datetime.now(UTC), 1, port)
    return Preflighter(session, scrape, PATIENCE, port)


def pod(address: str) -> Object:
    """A pod that took 30 s to be ready."""
    return {
        "metadata": {"name": f"p-{address}", "uid": address, "labels": {REVISION: "r"}},
        "status": {
            "podIP": address,
            "startTime": "2026-11-23T12:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T12:00:30Z"}],
        },
    }


async def examine(
    preflighter: Preflighter, expected: Expected = EXPECTED, stable: str = STABLE, canary: str = CANARY
) -> PreflightStatus:
    """The result of the canary's pod, which there must be."""
    found = await asked(preflighter, expected, stable, canary)
    assert found is not None
    return found


async def asked(
    preflighter: Preflighter, expected: Expected = EXPECTED, stable: str = STABLE, canary: str = CANARY
) -> PreflightStatus | None:
    others = (pod(stable),) if stable else ()
    return await preflighter(pod(canary), Preflight(frozenset({canary}), (pod(canary),), others, expected))


async def fingerprint_of(preflighter: Preflighter) -> str:
    api = EngineApi(preflighter.session, base_url(pod(CANARY), preflighter.port))
    return fingerprint(await api.probe_tokens())


def failure(found: PreflightStatus) -> tuple[str, str]:
    """Reason and message, without the pod's name."""
    return found.reason, found.message.removeprefix(f"p-{CANARY}: ")


async def test_a_sound_engine_passes_with_its_fingerprint(preflighter: Preflighter) -> None:
    found = await examine(preflighter)
    assert (found.pod, found.reason) == (CANARY, "")
    assert found.message == f"the tokenizer's fingerprint is {await fingerprint_of(preflighter)}"


async def test_an_engine_that_serves_known_callers_only_is_tested_without_a_tenants_limits(
    preflighter: Preflighter, guarded: str
) -> None:
    found = await examine(preflighter, stable=guarded, canary=guarded)
    assert (found.pod, found.reason) == (guarded, "")
    api = EngineApi(preflighter.session, base_url(pod(guarded), preflighter.port))
    async with preflighter.session.post(f"{api.url}/v1/completions", json={"prompt": "a"}) as answer:
        assert answer.status == 401


async def test_the_cold_start_is_measured_up_to_the_first_token(preflighter: Preflighter) -> None:
    found = await examine(preflighter)
    assert found.cold_start_seconds is not None
    assert 30 < found.cold_start_seconds < 40


async def test_other_tokens_than_stables_fail_with_the_ids(
    preflighter: Preflighter, canary: Simulated
) -> None:
    """Scenario M1."""
    canary.break_(other_tokenizer=True)
    reason, message = failure(await examine(preflighter))
    assert reason == "TokenizerChanged"
    assert message.startswith("tokenizer: probe text 0 differs from token 0 on: canary [")


async def test_other_tokens_than_pinned_fail_without_stable(preflighter: Preflighter) -> None:
    """Scenario M1."""
    pinned = "sha256:" + "0" * 64
    found = await examine(preflighter, replace(EXPECTED, fingerprint=pinned), stable="")
    fingerprint = await fingerprint_of(preflighter)
    assert failure(found) == (
        "TokenizerChanged",
        f"tokenizer: the tokenizer's fingerprint is {fingerprint}, pinned is {pinned}",
    )


async def test_the_pinned_tokens_pass_though_stable_has_others(
    preflighter: Preflighter, canary: Simulated
) -> None:
    canary.break_(other_tokenizer=True)
    pinned = await fingerprint_of(preflighter)
    assert (await examine(preflighter, replace(EXPECTED, fingerprint=pinned))).reason == ""


async def test_without_stable_a_pass_says_that_nothing_was_compared(preflighter: Preflighter) -> None:
    found = await examine(preflighter, stable="")
    assert found.reason == ""
    assert found.message.endswith("; stable had no ready pod to compare tokens with")


async def test_a_stable_that_cannot_be_asked_is_no_verdict_on_the_canary(preflighter: Preflighter) -> None:
    assert await asked(replace(preflighter, patience=IMPATIENCE), stable=NOBODY) is None


async def test_an_engine_under_another_name_fails(preflighter: Preflighter, canary: Simulated) -> None:
    """Scenario M7."""
    canary.break_(model_name="prose")
    assert failure(await examine(preflighter)) == (
        "PreflightFailed",
        "served name: the engine serves ['prose'], not 'coder'",
    )


async def test_a_name_that_stable_does_not_have_fails(preflighter: Preflighter) -> None:
    """Scenario M7."""
    reason, message = failure(await examine(preflighter, replace(EXPECTED, stable_name="prose")))
    assert reason == "PreflightFailed"
    assert message.startswith("served name: it is served as 'coder' and stable as 'prose'")


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_an_engine_that_answers_with_errors_fails(
    preflighter: Preflighter, canary: Simulated, status: int
) -> None:
    canary.break_(errors={"status": status})
    assert failure(await examine(preflighter)) == (
        "PreflightFailed",
        f"streaming: /v1/completions answers HTTP {status}",
    )


async def test_an_engine_that_stays_full_fails_when_the_time_is_over(
    preflighter: Preflighter, canary: Simulated
) -> None:
    canary.break_(errors={"status": 503})
    found = await examine(replace(preflighter, patience=IMPATIENCE))
    assert found.reason == "PreflightFailed"
    assert found.message.endswith(
        "not over after 2 s; the last time streaming broke off: /v1/completions answers HTTP 503"
    )


async def test_an_engine_that_finds_no_end_fails(preflighter: Preflighter, canary: Simulated) -> None:
    canary.break_(endless_output=True)
    assert failure(await examine(preflighter)) == (
        "PreflightFailed",
        "streaming: the answer goes on after the 16 tokens asked for",
    )


async def test_an_engine_that_hangs_fails_when_the_time_is_over(
    preflighter: Preflighter, canary: Simulated
) -> None:
    canary.break_(hang=True)
    found = await examine(replace(preflighter, patience=IMPATIENCE))
    assert found.reason == "PreflightFailed"
    assert found.message.endswith(": not over after 2 s")


async def test_an_engine_that_serves_more_than_its_cap_fails(preflighter: Preflighter) -> None:
    found = await examine(preflighter, replace(EXPECTED, max_output_tokens=MAX_OUTPUT - 100))
    assert failure(found) == (
        "PreflightFailed",
        "prompt over the cap: 2157 tokens, one more than the cap, are answered with HTTP 200",
    )


async def test_an_engine_that_refuses_a_long_prompt_fails(preflighter: Preflighter) -> None:
    longer = replace(EXPECTED, max_input_tokens=EXPECTED.cap + 1)
    assert failure(await examine(preflighter, longer)) == (
        "PreflightFailed",
        "long context: /v1/completions answers HTTP 400",
    )


async def test_an_engine_that_generates_on_for_who_has_left_fails(
    preflighter: Preflighter, canary: Simulated
) -> None:
    canary.break_(deaf_to_leaving=True)
    assert failure(await examine(preflighter)) == (
        "PreflightFailed",
        "cancellation: the request still runs 1 s after its client has left",
    )


@pytest.mark.parametrize("broken", ["missing", "nan"])
async def test_without_metrics_a_pass_says_what_was_not_seen(
    preflighter: Preflighter, canary: Simulated, broken: str
) -> None:
    canary.break_(metrics=broken)
    found = await examine(preflighter)
    assert found.reason == ""
    assert found.message.endswith("; whether cancellation frees the slot could not be seen")


async def test_a_pod_that_takes_no_connection_has_no_result(preflighter: Preflighter) -> None:
    assert await asked(replace(preflighter, patience=IMPATIENCE), canary=NOBODY) is None
