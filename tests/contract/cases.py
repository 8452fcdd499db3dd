"""Requests whose answers the real engine gave: their shape, or their very words where they are errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contract.asking import PROMPT, greedy

JSON = {"Content-Type": "application/json"}
MESSAGES = [{"role": "user", "content": PROMPT}]
USAGE = {"include_usage": True}


@dataclass(frozen=True)
class Case:
    """One request; a `body` that is text is sent as it is."""

    name: str
    path: str
    body: object = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def _get(name: str, path: str) -> Case:
    return Case(name, path, method="GET", headers={})


def _completion(name: str, **body: object) -> Case:
    return Case(f"completion: {name}", "/v1/completions", greedy(**{"max_tokens": 4} | body))


def _chat(name: str, **body: object) -> Case:
    usual = {"model": "tiny", "messages": MESSAGES, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
    return Case(f"chat: {name}", "/v1/chat/completions", usual | body)


def _raw(name: str, body: object, path: str = "/v1/completions") -> Case:
    return Case(name, path, body)


ADMINISTRATION = (
    _get("health", "/health"),
    _get("ping", "/ping"),
    Case("ping by POST", "/ping"),
    _get("version", "/version"),
    _get("load", "/load"),
    _get("models", "/v1/models"),
    _get("an unknown path", "/nothing/here"),
    _get("a wrong method", "/v1/completions"),
)
TOKENS = (
    _raw("tokenize a prompt", {"model": "tiny", "prompt": PROMPT}, "/tokenize"),
    _raw("tokenize without a model", {"prompt": PROMPT}, "/tokenize"),
    _raw("tokenize into strings", {"prompt": PROMPT, "return_token_strs": True}, "/tokenize"),
    _raw("tokenize messages", {"messages": MESSAGES}, "/tokenize"),
    _raw("tokenize for an unknown model", {"model": "nope", "prompt": PROMPT}, "/tokenize"),
    _raw("tokenize nothing", {"model": "tiny"}, "/tokenize"),
    _raw("detokenize", {"model": "tiny", "tokens": [100, 101, 102]}, "/detokenize"),
    _raw("detokenize no tokens", {"model": "tiny", "tokens": []}, "/detokenize"),
    _raw("detokenize text", {"model": "tiny", "tokens": "abc"}, "/detokenize"),
    _raw("detokenize without tokens", {"model": "tiny"}, "/detokenize"),
)
COMPLETIONS = (
    _completion("whole"),
    _completion("by another served name", model="tiny-too"),
    _completion("without a model", model=None),
    _completion("of tokens", prompt=[100, 101, 102]),
    _completion("of two prompts", prompt=[PROMPT, "class Queue:"]),
    _completion("twice", n=2, temperature=0.5),
    _completion("with the prompt's tokens and its own", return_token_ids=True),
    _completion("echoed", echo=True),
    _completion("streamed", stream=True),
    _completion("streamed with usage", stream=True, stream_options=USAGE),
    _completion(
        "streamed with usage all along", stream=True, stream_options=USAGE | {"continuous_usage_stats": True}
    ),
    _chat("whole"),
    _chat("streamed", stream=True),
    _chat("streamed with usage", stream=True, stream_options=USAGE),
    _chat("limited as newer clients do", max_tokens=None, max_completion_tokens=3),
    _chat("with a system message", messages=[{"role": "system", "content": "Be short."}, *MESSAGES]),
)
LONG = [100] * 1024
REFUSED = (
    _raw("not JSON", "{"),
    _raw("a JSON list", []),
    _raw("no body", ""),
    Case(
        "not said to be JSON", "/v1/completions", '{"model": "tiny"}', headers={"Content-Type": "text/plain"}
    ),
    _raw("no prompt", {"model": "tiny"}),
    _completion("an unknown model", model="nope"),
    _completion("an empty prompt", prompt=""),
    _completion("no prompts", prompt=[]),
    _completion("a prompt that is a number", prompt=7),
    _completion("a token out of the vocabulary", prompt=[10_000_000]),
    _completion("a negative token", prompt=[-1]),
    _completion("a prompt as long as the context", prompt=LONG),
    _completion("a prompt longer than the context", prompt=LONG * 2),
    _completion("a text longer than the context", prompt="x y " * 2000),
    _completion("a text far longer than the context", prompt="x y " * 200_000),
    _completion("more tokens than the context", max_tokens=5000),
    _completion("no tokens", max_tokens=0),
    _completion("fewer than no tokens", max_tokens=-1),
    _completion("tokens in words", max_tokens="four"),
    _completion("a negative temperature", temperature=-1),
    _completion("a temperature in words", temperature="hot"),
    _completion("top_p over one", top_p=1.5),
    _completion("top_k under minus one", top_k=-2),
    _completion("min_p over one", min_p=2),
    _completion("a penalty too high", presence_penalty=3),
    _completion("a frequency penalty too high", frequency_penalty=3),
    _completion("a repetition penalty of zero", repetition_penalty=0),
    _completion("none of them", n=0),
    _completion("two greedy ones", n=2),
    _completion("more at least than at most", min_tokens=8),
    _completion("a suffix", suffix="end"),
    _completion("usage of what isn't streamed", stream_options=USAGE),
    _completion("too many logprobs", logprobs=100),
    _completion("an empty stop", stop=""),
    _completion("stream in words", stream="perhaps"),
    _chat("an unknown model", model="nope"),
    _chat("no messages", messages=[]),
    _chat("messages missing", messages=None),
    _chat("more tokens than the context", max_tokens=5000),
    _chat("a message longer than the context", messages=[{"role": "user", "content": "x y " * 2000}]),
    _chat("usage of what isn't streamed", stream_options=USAGE),
    _chat("a negative temperature", temperature=-1),
    _chat("tools by a model that has none", tools=[{"type": "function", "function": {"name": "f"}}]),
)
CASES = (*ADMINISTRATION, *TOKENS, *COMPLETIONS, *REFUSED)
