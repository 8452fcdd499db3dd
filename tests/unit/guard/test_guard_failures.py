"""Whatever happens, a generation has one line in the log, nothing of it leaks, and the engine lives on."""

import asyncio
import json
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from pilothouse.guard import pilothouse_guard
from pilothouse.guard.pilothouse_guard import LONGEST_TRACE, Places
from unit.guard.standin import PINS, Client, Engine, Setup, settings, until

Guarded = Callable[..., Setup]
SECRET = "sesame-0pen-4711"  # noqa: S105 -- what must not be found again


async def test_a_failure_of_the_engine_is_a_500_with_the_pins(guarded: Guarded) -> None:
    setup = guarded()
    setup.engine.failure = RuntimeError(f"about {SECRET}")
    answer = await setup.complete(prompt=SECRET)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert answer.headers.items() >= PINS.items()
    assert setup.line.items() >= {"status": 500, "finish": "error", "error": "RuntimeError"}.items()


async def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(guarded: Guarded) -> None:
    setup = guarded()
    setup.engine.failure, setup.engine.fails_after = RuntimeError(SECRET), 2
    answer = await setup.complete(stream=True)
    assert [json.loads(event).get("error", {}).get("code") for event in answer.events[:-1]] == [
        None,
        None,
        "internal_error",
    ]
    assert answer.events[-1] == "[DONE]"
    assert setup.line.items() >= {"finish": "error", "status": 200, "tokensOut": 2}.items()


@pytest.mark.parametrize(("status", "finish"), [(404, "rejected:404"), (400, "rejected:400"), (503, "error")])
async def test_the_engine_s_own_refusal_goes_on_and_its_words_stay_out_of_the_log(
    guarded: Guarded, status: int, finish: str
) -> None:
    setup = guarded()
    setup.engine.status = status
    answer = await setup.complete(prompt=SECRET)
    assert answer.status == status
    assert SECRET in answer.error["message"]
    assert answer.headers.items() >= PINS.items()
    assert setup.line.items() >= {"status": status, "finish": finish}.items()
    assert SECRET not in json.dumps(setup.line)


async def test_an_engine_that_says_nothing_is_a_502(guarded: Guarded) -> None:
    async def silent(*_: object) -> None:
        pass

    setup = guarded()
    setup.use(silent)
    answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (502, "engine_error")


async def test_an_engine_that_drops_a_request_is_a_502_with_the_pins(guarded: Guarded) -> None:
    async def dropping(*_: object) -> NoReturn:
        raise asyncio.CancelledError

    setup = guarded()
    setup.use(dropping)
    answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (502, "engine_error")
    assert answer.headers.items() >= PINS.items()
    assert setup.line["status"] == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_who_hangs_up_frees_the_engine(guarded: Guarded, *, stream: bool) -> None:
    setup = guarded()
    setup.engine.may_go_on.clear()
    client = Client({"prompt": "a", "stream": stream})
    serving = asyncio.create_task(setup.serve(client))
    await until(lambda: setup.engine.running == 1)
    client.hang_up()
    await serving
    assert setup.engine.running == 0
    assert (
        setup.line.items() >= {"finish": "cancelled", "status": 499, "tokensOut": 0, "exact": False}.items()
    )


async def test_who_hangs_up_in_the_middle_of_a_stream_is_counted_as_far(guarded: Guarded) -> None:
    setup = guarded()
    setup.engine.pauses_after = 3
    client = Client({"prompt": "a", "stream": True, "max_tokens": 8})
    serving = asyncio.create_task(setup.serve(client))
    await client.got.wait()
    client.hang_up()
    await serving
    assert setup.line.items() >= {"finish": "cancelled", "status": 200, "exact": False}.items()
    assert setup.line["tokensOut"] == len(client.answer.parts) == 3


async def test_who_hangs_up_before_the_request_is_whole_has_a_line_too(guarded: Guarded) -> None:
    class Leaver(Client):
        async def receive(self) -> dict[str, object]:
            return {"type": "http.disconnect"}

    setup = guarded()
    await setup.serve(Leaver({}))
    assert setup.line.items() >= {"finish": "cancelled", "status": 499, "promptHash": None}.items()


@pytest.mark.parametrize("stream", [False, True])
async def test_who_has_the_whole_answer_did_not_cancel_it(guarded: Guarded, *, stream: bool) -> None:
    class Leaver(Client):
        async def send(self, message: dict[str, object]) -> None:
            await super().send(message)
            if self.answer.ended:
                self.hang_up()

    class Lingering(Engine):
        async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
            await super().__call__(scope, receive, send)
            for _ in range(20):
                await asyncio.sleep(0)

    setup = guarded()
    setup.use(Lingering())
    await setup.serve(Leaver({"prompt": "a", "max_tokens": 3, "stream": stream}))
    assert setup.line.items() >= {"finish": "length", "status": 200, "exact": True}.items()


async def test_a_server_that_stops_leaves_a_line(guarded: Guarded) -> None:
    setup = guarded()
    setup.engine.may_go_on.clear()
    serving = asyncio.create_task(setup.complete())
    await until(lambda: setup.engine.running == 1)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert setup.line["finish"] == "cancelled"


async def test_a_defect_of_the_guard_ends_one_request_only(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError(SECRET)

    setup = guarded()
    with monkeypatch.context() as patch:
        patch.setattr(Places, "held", broken)
        answer = await setup.complete(prompt=SECRET)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert setup.line.items() >= {"finish": "error", "error": "ZeroDivisionError"}.items()
    assert SECRET not in json.dumps(setup.line)
    assert (await setup.complete()).status == 200


async def test_a_log_that_can_t_be_written_stops_no_request(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        raise BrokenPipeError

    setup = guarded()
    monkeypatch.setattr(os, "write", broken)
    assert (await setup.complete()).status == 200
    about = await setup.ask(path="/pilothouse/about", method="GET")
    assert about.json["lostLines"] == 1


async def test_two_requests_of_one_id_are_told_apart(guarded: Guarded) -> None:
    setup = guarded()
    setup.engine.may_go_on.clear()
    asking = [asyncio.create_task(setup.complete(headers={"x-request-id": "same"})) for _ in range(2)]
    await until(lambda: setup.engine.running == 2)
    setup.engine.may_go_on.set()
    first, second = [answer.headers["x-request-id"] for answer in await asyncio.gather(*asking)]
    assert first == "same"
    assert second.startswith("same-")


# Credentials.

KEY = "AKIA" + "Z7VRDXLBQ2YH4KWP"


@pytest.mark.parametrize("prompt", [f"key = {KEY}", [f"key = {KEY}"], list(f"key = {KEY}".encode())])
async def test_a_credential_is_refused_by_its_kind(guarded: Guarded, prompt: object) -> None:
    setup = guarded(requests={"secretScan": "Reject"})
    answer = await setup.complete(prompt=prompt)
    assert (answer.status, answer.error["code"]) == (400, "credentials_found")
    assert "aws-access-key-id" in answer.error["message"]
    assert KEY not in answer.body.decode() + json.dumps(setup.line)
    assert setup.line["credentials"] == {"aws-access-key-id": 1}
    assert setup.engine.bodies == []


async def test_a_credential_is_reported_where_the_lane_only_reports(guarded: Guarded) -> None:
    setup = guarded(requests={"secretScan": "Report"})
    assert (await setup.complete(prompt=f"{KEY} {KEY}")).status == 200
    assert (await setup.chat([{"type": "text", "text": KEY}])).status == 200
    assert (await setup.complete(prompt=list(KEY.encode()))).status == 200
    assert (await setup.complete()).status == 200
    counts = [line.get("credentials") for line in setup.lines]
    assert counts == [{"aws-access-key-id": 2}, {"aws-access-key-id": 1}, {"aws-access-key-id": 1}, None]


@pytest.mark.parametrize(
    "field",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": KEY}}]},
        {"chat_template_kwargs": {"date": KEY}},
    ],
)
async def test_what_a_template_puts_into_a_prompt_is_scanned_and_hashed_too(
    guarded: Guarded, field: dict[str, object]
) -> None:
    setup = guarded(requests={"secretScan": "Reject"})
    assert (await setup.chat()).status == 200
    answer = await setup.chat(**field)
    assert (answer.status, answer.error["code"]) == (400, "credentials_found")
    without, with_it = setup.lines
    assert without["promptHash"] != with_it["promptHash"]


async def test_what_never_reaches_the_engine_is_not_scanned(guarded: Guarded) -> None:
    setup = guarded(requests={"secretScan": "Report"})
    assert (await setup.complete(prompt=f"{KEY} " * 100)).error["code"] == "context_length_exceeded"
    assert "credentials" not in setup.line


async def test_ids_that_have_no_text_are_the_engine_s_to_judge_where_the_lane_only_reports(
    guarded: Guarded,
) -> None:
    setup = guarded(requests={"secretScan": "Report"})
    assert (await setup.complete(prompt=[999])).status == 200
    assert setup.line["error"] == "ValueError"


async def test_no_scan_is_no_scan(guarded: Guarded) -> None:
    setup = guarded(requests={"secretScan": "Off"})
    assert (await setup.complete(prompt=KEY)).status == 200
    assert "credentials" not in setup.line


async def test_a_scan_without_patterns_is_closed(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "alone" / "pilothouse_guard.py"
    copy.parent.mkdir()
    copy.write_text("")
    monkeypatch.setattr(pilothouse_guard, "__file__", str(copy))
    setup = guarded(requests={"secretScan": "Reject"})
    answer = await setup.complete()
    assert (answer.status, answer.error["code"]) == (503, "no_scanner")


# The packing trace.


async def test_a_packing_trace_is_logged_and_compared(guarded: Guarded) -> None:
    setup = guarded()
    trace = {"segments": [{"name": "file", "tokens": 3}, {"name": "imports", "tokens": 2}], "total": 5}
    await setup.complete(headers={"x-packing-trace": json.dumps(trace)})
    assert setup.line["packing"] == {
        "segments": [["file", 3], ["imports", 2]],
        "total": 5,
        "difference": 0,
        "truncated": False,
    }


async def test_a_prompt_that_was_cut_on_its_way_shows(guarded: Guarded) -> None:
    setup = guarded()
    trace = {"segments": [{"name": "file", "tokens": 500}]}
    await setup.complete(headers={"x-packing-trace": json.dumps(trace)})
    assert setup.line["packing"].items() >= {"total": 500, "difference": -495, "truncated": True}.items()


async def test_the_longest_line_is_one_that_a_pipe_takes_as_one(guarded: Guarded) -> None:
    """All that is in it as long as the API and the guard let it be."""
    setup = guarded()
    content = settings()
    content["identity"] = content["identity"] | {
        "revision": "r" * 63,
        "model": "m" * 128,
        "modelRevision": "sha256:" + "0" * 64,
        "tokenizerRevision": "sha256:" + "0" * 64,
        "licenseID": "l" * 400,
        "queueClass": "q" * 253,
    }
    (setup.folder / "settings.json").write_text(json.dumps(content))
    segments = [{"name": "n" * 62, "tokens": 1}] * 23
    trace = json.dumps({"segments": segments}, separators=(",", ":"))
    names = ("x-pilothouse-tenant", "x-pilothouse-user", "x-request-id")
    headers = dict.fromkeys(names, "c" * 128) | {"x-packing-trace": trace}
    assert (await setup.complete(headers)).status == 200
    assert LONGEST_TRACE - 100 < len(trace) <= LONGEST_TRACE
    assert 3000 < len(json.dumps(setup.line, separators=(",", ":"))) < select.PIPE_BUF


@pytest.mark.parametrize(
    "trace",
    [
        "file:3",
        "[]",
        '{"segments": 1}',
        '{"segments": [{"name": "a b", "tokens": 1}]}',
        '{"segments": [{"name": "", "tokens": 1}]}',
        '{"segments": [{"name": "a", "tokens": -1}]}',
        '{"segments": [{"name": "a", "tokens": 1.5}]}',
        '{"segments": [{"name": "a", "tokens": 3}], "total": 2}',
        '{"segments": [{"name": "a"}]}',
        '{"segments": [], "total": 1' + "0" * 400 + "}",
        json.dumps({"segments": [{"name": "a", "tokens": 1}] * 65}),
        json.dumps({"segments": [], "note": "x" * 2048}),
        "[" * 2000,
    ],
)
async def test_a_packing_trace_of_another_form_is_refused(guarded: Guarded, trace: str) -> None:
    setup = guarded()
    answer = await setup.complete(headers={"x-packing-trace": trace})
    assert (answer.status, answer.error["code"]) == (400, "invalid_packing_trace")
    assert "packing" not in setup.line
