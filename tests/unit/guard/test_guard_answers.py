"""What a client gets, and what the log says of it, when all goes well."""

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.guard import pilothouse_guard
from pilothouse.guard.pilothouse_guard import Count, Events
from unit.guard.standin import IDENTITY, PINS, Client, Setup

Guarded = Callable[..., Setup]


async def test_an_answer_carries_the_pins_and_its_request_id(guarded: Guarded) -> None:
    answer = await guarded().complete(headers={"x-request-id": "mine-1"})
    assert answer.status == 200
    assert answer.headers.items() >= PINS.items()
    assert answer.headers["x-request-id"] == "mine-1"


async def test_a_stream_carries_the_pins_and_one_request_id(guarded: Guarded) -> None:
    answer = await guarded().complete(stream=True)
    assert answer.headers.items() >= PINS.items()
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_the_list_of_models_carries_the_pins(guarded: Guarded) -> None:
    answer = await guarded().ask(path="/v1/models", method="GET")
    assert answer.json == {"path": "/v1/models"}
    assert answer.headers.items() >= PINS.items()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_generation_has_one_line_with_who_what_and_how_long(
    guarded: Guarded, *, stream: bool
) -> None:
    setup = guarded()
    headers = {"x-pilothouse-tenant": "team-ide", "x-pilothouse-user": "ada", "x-request-id": "mine"}
    await setup.complete(headers=headers, stream=stream)
    line = setup.line
    pins = {name: IDENTITY[name] for name in IDENTITY if name not in ("namespace", "deployment")}
    assert line.items() >= pins.items()
    assert (
        line.items()
        >= {
            "event": "generation",
            "requestId": "mine",
            "tenant": "team-ide",
            "user": "ada",
            "path": "/v1/completions",
            "stream": stream,
            "tokensIn": len("def f"),
            "tokensOut": 4,
            "exact": True,
            "status": 200,
            "finish": "length",
            "promptHashKey": "secret",
        }.items()
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["seconds"] >= line["queuedSeconds"] >= 0


async def test_the_first_token_of_a_stream_is_timed(guarded: Guarded) -> None:
    setup = guarded()
    await setup.complete(stream=True)
    assert 0 < setup.line["firstTokenSeconds"] <= setup.line["seconds"]


async def test_equal_prompts_have_equal_hashes_and_others_have_others(guarded: Guarded) -> None:
    setup = guarded()
    for prompt in ("one", "one", "two", ["one"], [1, 2], [12]):
        await setup.complete(prompt=prompt)
    await setup.chat("one")
    first, again, *others = [line["promptHash"] for line in setup.lines]
    assert first == again
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert others[1] == first, "a list of one text is that text"
    assert len({first, *others}) == 5


async def test_the_key_of_the_hash_is_read_again_when_it_changes(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilothouse.guard.pilothouse_guard.FILE_CHECK_SECONDS", 0)
    setup = guarded()
    await setup.complete()
    (setup.folder / "key").write_text("another key")
    await setup.complete()
    first, second = setup.lines
    assert first["promptHash"] != second["promptHash"]


async def test_without_a_key_the_hash_is_the_process_s_own(guarded: Guarded) -> None:
    setup = guarded()
    (setup.folder / "key").unlink()
    await setup.complete()
    trouble, line = setup.lines
    assert trouble == {"event": "file", "file": str(setup.folder / "key"), "error": "FileNotFoundError"}
    assert line["promptHashKey"] == "process"


async def test_usage_is_taken_out_of_a_stream_that_did_not_ask_for_it(guarded: Guarded) -> None:
    setup = guarded()
    answer = await setup.complete(stream=True)
    *chunks, done = answer.events
    assert done == "[DONE]"
    assert ["usage" in json.loads(chunk) for chunk in chunks] == [False] * 4
    assert answer.ended


async def test_usage_stays_in_a_stream_that_asked_for_it(guarded: Guarded) -> None:
    answer = await guarded().complete(stream=True, stream_options={"include_usage": True})
    assert json.loads(answer.events[-2])["usage"]["completion_tokens"] == 4


async def test_an_output_that_looks_like_usage_is_output() -> None:
    count = Count()
    text = json.dumps({"choices": [{"text": '"usage":{"prompt_tokens":1,"completion_tokens":99}'}]})
    data = b"data: " + text.encode() + b"\n\n"
    assert Events(count, keeps_usage=False).pass_on(data, more=True) == data
    assert count.output is None


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_events_that_come_in_pieces_go_on_whole(cut: int) -> None:
    count = Count()
    token = b'data: {"choices":[{"text":"t","finish_reason":"stop"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
    whole = token + usage
    events = Events(count, keeps_usage=False)
    parts = [events.pass_on(whole[:cut], more=True), events.pass_on(whole[cut:], more=False)]
    assert b"".join(parts) == token
    assert (count.prompt, count.output, count.finish, count.events) == (3, 1, "stop", 1)


@pytest.mark.parametrize(
    "path",
    [
        "/tokenize",
        "/invocations",
        "/v1/responses",
        "/v1/completions/",
        "//v1/completions",
        "/v1/../v1/completions",
        "/v1/../metrics",
        "/%2e/metrics",
        "/metrics/",
        "/health/../metrics",
        "/v1/chat/completions/",
        "/v1/chat/completions/batch",
        "/pilothouse/about/",
        "/V1/completions",
        "/v1/completions/render",
        "/docs",
        "/sim/faults",
        "/",
        "",
    ],
)
async def test_any_other_path_is_not_there(guarded: Guarded, path: str) -> None:
    setup = guarded()
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "get", "post"):
        answer = await setup.ask({}, path, method)
        assert answer.status == 404
        assert answer.error["code"] == "not_found"
    assert setup.lines == []
    assert setup.engine.bodies == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post", "TRACE"])
async def test_a_generation_is_a_post(guarded: Guarded, method: str) -> None:
    setup = guarded()
    for path in ("/v1/completions", "/v1/chat/completions"):
        assert (await setup.ask({"prompt": "a"}, path, method)).status == 404
    assert setup.engine.bodies == []


@pytest.mark.parametrize("path", ["/health", "/metrics", "/ping", "/version"])
async def test_what_the_cluster_asks_goes_to_the_engine(guarded: Guarded, path: str) -> None:
    setup = guarded()
    assert (await setup.ask(path=path, method="GET")).json == {"path": path}
    for method in ("POST", "HEAD", "OPTIONS", "DELETE"):
        assert (await setup.ask({}, path, method)).status == 404


async def test_a_websocket_is_closed(guarded: Guarded) -> None:
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    await guarded().guard({"type": "websocket", "path": "/v1/realtime"}, Client({}).receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_lifespan_is_the_engine_s(guarded: Guarded) -> None:
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    await guarded().guard({"type": "lifespan"}, Client({}).receive, send)
    assert sent == [{"type": "lifespan.seen"}]


async def test_about_says_what_the_pod_really_serves(guarded: Guarded) -> None:
    setup = guarded()
    (setup.folder / "manifest.json").write_text('{"digest": "sha256:1"}')
    about = (await setup.ask(path="/pilothouse/about", method="GET")).json
    assert about["identity"] == IDENTITY
    assert about["manifest"] == {"digest": "sha256:1"}
    assert about["pod"] == "qwen-coder-0"
    assert about["guard"] != about["settings"]
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", about[name]) for name in ("guard", "settings"))


async def test_about_has_no_manifest_where_nothing_was_fetched(guarded: Guarded) -> None:
    assert (await guarded().ask(path="/pilothouse/about", method="GET")).json["manifest"] is None


async def test_probes_are_the_engine_s_tokens_of_the_probe_texts(guarded: Guarded) -> None:
    setup = guarded()
    (setup.folder / "probes.json").write_text('["ab", "\\u00e9"]')
    answer = await setup.ask(path="/pilothouse/probes", method="GET")
    assert answer.json == {"tokens": [[97, 98], [195, 169]]}


async def test_probes_without_texts_are_an_error(guarded: Guarded) -> None:
    answer = await guarded().ask(path="/pilothouse/probes", method="GET")
    assert (answer.status, answer.error["code"]) == (503, "no_probes")


def test_the_guard_needs_nothing_but_python_and_itself() -> None:
    tree = ast.parse(Path(pilothouse_guard.__file__).read_text(), feature_version=(3, 10))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
