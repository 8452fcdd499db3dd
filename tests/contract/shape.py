"""What two engines' answers must share: all but the generated text, the times, the counts and the ids."""

import json
import re
from typing import Any

import aiohttp

from contract.asking import DONE

OWN_HEADERS = ("date", "x-request-id", "content-length")
_NAMES = {str: "text", bool: "boolean", int: "number", float: "number", type(None): "null"}


async def shape(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return an answer's status, its headers and the shape of its body."""
    text = await answer.text()
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {
        "status": answer.status,
        "headers": {name: "" if name in OWN_HEADERS else value for name, value in sorted(headers.items())},
        "body": _body(text, answer),
    }


def _body(text: str, answer: aiohttp.ClientResponse) -> object:
    if answer.content_type == "text/event-stream":
        return _without_repeats([_event(event) for event in text.split("\n\n")])
    if answer.status >= 400:
        return _error(text)
    return _of(json.loads(text)) if text else ""


def _error(text: str) -> object:
    # What a text may have in characters follows from the longest token of the model's own vocabulary.
    return json.loads(re.sub(r"more than \d+ characters", "more than so many characters", text))


def _event(event: str) -> object:
    data = event.removeprefix("data: ")
    return data if data in ("", DONE) else _of(json.loads(data))


def _of(value: object) -> object:
    if isinstance(value, dict):
        return {key: _of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _without_repeats([_of(inner) for inner in value])
    return _NAMES[type(value)]


def _without_repeats(shapes: list[object]) -> list[object]:
    return [each for before, each in zip([None, *shapes], shapes, strict=False) if each != before]
