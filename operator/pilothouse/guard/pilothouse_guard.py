"""The guard: an ASGI middleware inside the engine's process, loaded by `--middleware=pilothouse_guard.Guard`.

It holds generations to the limits of their lane before the engine's queue, puts the pins on every answer and
writes one line of JSON on stdout per generation. Prompts, outputs and keys appear in none of them. One file,
standard library only, Python 3.10 or newer, since it runs in the engine's image; docs/guard.md says what it
does.
"""

import asyncio
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import time
import uuid
from collections import Counter, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

Object = dict[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]
Value = TypeVar("Value")

COMPLETIONS: Final = "/v1/completions"
CHAT: Final = "/v1/chat/completions"
GENERATIONS: Final = frozenset({COMPLETIONS, CHAT})
MODELS: Final = "/v1/models"
OPEN: Final = frozenset({"/health", "/metrics", "/ping", "/version"})
ABOUT: Final = "/pilothouse/about"
PROBES: Final = "/pilothouse/probes"

SMALLEST_BODY_BOUND: Final = 1 << 20
BYTES_PER_TOKEN: Final = 64
"""More than prompts of code ever have; what is longer is refused without being counted."""
LONGEST_TRACE: Final = 2048
"""In bytes: with it a line of the log is below the 4096 that a pipe takes as one, whatever others write."""
MOST_SEGMENTS: Final = 64
LARGEST_COUNT: Final = 1 << 31
MOST_WAITING: Final = 1024
LONGEST_RETRY: Final = 60
MINUTE: Final = 60.0
SLOT_SECONDS: Final = 0.1
CHARACTERS_PER_TOKEN: Final = 4
FILE_CHECK_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 1.0
SPECIAL_TOKENS: Final = 8
MESSAGE_TOKENS: Final = 64
NORMALIZED_GROWTH: Final = 3
"""By how much NFC, the only normalization of the three families' tokenizers, lengthens UTF-8 at most.

Source: https://unicode.org/faq/normalization
"""


class Refusal(Exception):  # noqa: N818 -- an answer, not a failure
    """An answer in OpenAI's error form; the message names limits and numbers, never what was sent."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> bytes:
        """Return the JSON of the answer."""
        kind = ERROR_TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return dump({"error": error})


ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


class ClientGoneError(Exception):
    """The client hung up before its request was whole."""


def invalid(param: str, message: str, code: str = "invalid_value") -> Refusal:
    """Return a 400 about one field of the body."""
    return Refusal(400, code, message, param)


def dump(content: object) -> bytes:
    """Return compact JSON; raises ValueError for a number that is none."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


class Scanner:
    """Finds credentials in a text by rules of the form of credentials.json."""

    def __init__(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Compile the rules; raises KeyError or re.error for one that is none."""
        self._rules = [
            (rule["kind"], re.compile(rule["pattern"]), frozenset(rule["literals"])) for rule in rules
        ]
        self._literals = frozenset(literal for _, _, literals in self._rules for literal in literals)

    def kinds(self, text: str) -> dict[str, int]:
        """Count the credentials of each kind; what they are is told to nobody."""
        folded = text.lower()
        there = {literal for literal in self._literals if literal in folded}
        found: dict[str, int] = {}
        for kind, pattern, literals in self._rules:
            if literals and literals.isdisjoint(there):
                continue
            hits = sum(1 for _ in pattern.finditer(text))
            if hits:
                found[kind] = found.get(kind, 0) + hits
        return found


# The settings and the key: files that change while the process runs.


@dataclass(frozen=True)
class Share:
    """What of a tenant's limits falls to this pod; what is None or left out is not limited."""

    concurrent: int | None = None
    per_user: int | None = None
    per_minute: Mapping[str, float] = field(default_factory=dict)
    per_user_per_minute: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """settings.json in force."""

    digest: str
    identity: Mapping[str, str]
    max_input: int
    max_output: int
    timeout: float
    must_stream: bool
    scan: str
    places: int
    waits: bool
    max_wait: float
    knows_callers: bool
    """Whether only the callers of `tenants` are served."""
    tenants: Mapping[str, Share]

    @property
    def body_bound(self) -> int:
        """The longest body of a request, in bytes."""
        return max(SMALLEST_BODY_BOUND, BYTES_PER_TOKEN * self.max_input)


def parse_settings(raw: bytes) -> Settings:
    """Read settings.json; raises ValueError, LookupError, TypeError or AttributeError where it is none."""
    content = json.loads(raw)
    requests, concurrency = content["requests"], content["concurrency"]
    return Settings(
        digest=digest(raw),
        identity={name: _header_text(content["identity"].get(name)) for name in IDENTITY},
        max_input=_count(requests["maxInputTokens"]),
        max_output=_count(requests["maxOutputTokens"]),
        timeout=_number_from_zero(requests["timeoutSeconds"]),
        must_stream=_one_of(requests.get("streaming", "Allowed"), "Allowed", "Required") == "Required",
        scan=_one_of(requests.get("secretScan", "Off"), "Off", "Report", "Reject"),
        places=_count(concurrency["perReplica"]) + _count(concurrency.get("queuedPerReplica", 0)),
        waits=_one_of(concurrency.get("onFull", "Reject"), "Reject", "Wait") == "Wait",
        max_wait=_number_from_zero(concurrency.get("maxWaitSeconds", 0)),
        knows_callers=_one_of(content.get("callers", "Any"), "Any", "Known") == "Known",
        tenants={name: _share(share) for name, share in content.get("tenants", {}).items()},
    )


IDENTITY: Final = (
    "namespace",
    "deployment",
    "revision",
    "model",
    "modelRevision",
    "tokenizerRevision",
    "licenseID",
    "queueClass",
)


def _share(share: Mapping[str, Any]) -> Share:
    limits = (share.get("concurrentRequests"), share.get("perUserConcurrentRequests"))
    concurrent, per_user = (None if limit is None else _count(limit) for limit in limits)
    return Share(concurrent, per_user, _rates(share, "perMinute"), _rates(share, "perUserPerMinute"))


def _rates(share: Mapping[str, Any], name: str) -> Mapping[str, float]:
    return {kind: _number_from_zero(rate) for kind, rate in share.get(name, {}).items() if kind in SPENT}


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _number_from_zero(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= float(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError("not a number from zero on")
    return float(value)  # type: ignore[arg-type]


def _one_of(value: object, *known: str) -> str:
    if value not in known:
        raise ValueError("not a known word")
    return str(value)


def _header_text(value: object) -> str:
    text = "" if value is None else value
    if not isinstance(text, str) or not text.isascii() or not (text.isprintable() or not text):
        raise ValueError("not fit for a header")
    return text


def digest(raw: bytes) -> str:
    """Return `sha256:...` of a file's content."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def parse_key(raw: bytes) -> bytes:
    """Read the key of the prompt hash; raises ValueError for an empty one."""
    key = raw.strip()
    if not key:
        raise ValueError("an empty key")
    return key


class Watched(Generic[Value]):
    """The meaning of a file, read again when the file changes; the last good one stays."""

    def __init__(self, path: str, parse: Callable[[bytes], Value], log: "Log") -> None:
        """Take the path as it is in the environment: an empty one is a file that is not there."""
        self._path = path
        self._parse = parse
        self._log = log
        self._value: Value | None = None
        self._seen: tuple[int, int, int] | None = None
        self._due = 0.0
        self._trouble = ""

    def value(self) -> Value | None:
        """Return what the file says; None if it never said anything that can be read."""
        now = time.monotonic()
        if self._path and now >= self._due:
            self._due = now + FILE_CHECK_SECONDS
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 -- once a second on the path of every request
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            raw = Path(self._path).read_bytes()
            self._seen = seen
            self._value = self._parse(raw)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            self._complain(type(error).__name__)
        else:
            self._trouble = ""

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._log.write({"event": "file", "file": self._path, "error": trouble})
        self._trouble = trouble


class Key:
    """The key of hashes and salts: the Secret's, else one that lives as long as the process."""

    def __init__(self, file: Watched[bytes]) -> None:
        self._file = file
        self._own = secrets.token_bytes(32)

    def of(self, purpose: str, *parts: bytes) -> str:
        """Return 32 hexadecimal digits that nobody can make or invert without the key."""
        said = purpose.encode() + b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._file.value() or self._own, said, "sha256").hex()[:32]

    @property
    def source(self) -> str:
        """`secret` or `process`."""
        return "secret" if self._file.value() else "process"


class Log:
    """Lines of JSON on stdout; what can't be written is counted, and a request ends all the same."""

    def __init__(self) -> None:
        self.lost = 0

    def write(self, line: Object) -> None:
        """Write one line, at once and past every buffer, so that lines of others don't get into it."""
        rest = memoryview(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(1, rest) :]
        except OSError:
            self.lost += 1


# The request: who asks, for what.


@dataclass(frozen=True)
class Caller:
    """Who asks, as the gateway says; empty where it says nothing."""

    tenant: str
    user: str


TENANT: Final = b"x-pilothouse-tenant"
USER: Final = b"x-pilothouse-user"
CLIENT: Final = b"x-pilothouse-client"
"""`tenant.user` in one, from gateways that can only hand on the name of an API key."""
FORWARDED: Final = b"x-forwarded-for"
OPERATOR: Final = "pilothouse:operator"
"""The tenant as which the operator tests a pod; no TenantQuota can have this name."""
REQUEST_ID: Final = b"x-request-id"
PACKING_TRACE: Final = b"x-packing-trace"
NAME: Final = re.compile(r"[A-Za-z0-9._@:/+=|-]{1,128}")
SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def header(scope: Message, name: bytes) -> str | None:
    """Return a header's value; raises Refusal where it is sent twice."""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise Refusal(400, "duplicate_header", f"the header {name.decode()} is there more than once")
    return values[0].decode("latin-1") if values else None


def caller_of(scope: Message) -> Caller:
    """Read the gateway's headers; raises Refusal for values that no gateway sets."""
    tenant, user, client = (_name(scope, name) for name in (TENANT, USER, CLIENT))
    if not client:
        return Caller(tenant, user)
    if tenant or user:
        # A gateway names the caller in one way; the other one is the client's own.
        raise Refusal(400, "ambiguous_caller", "The caller is named in more than one way.")
    tenant, _, user = client.partition(".")
    return Caller(tenant, user)


def check_caller(caller: Caller, scope: Message, settings: Settings) -> None:
    """Raise Refusal for who may not call this model; the operator comes directly, past every gateway."""
    if caller.tenant == OPERATOR and any(name == FORWARDED for name, _ in scope["headers"]):
        raise Refusal(403, "tenant_not_allowed", "No client may call as the operator.")
    if not settings.knows_callers or caller.tenant == OPERATOR or caller.tenant in settings.tenants:
        return
    if not caller.tenant:
        raise Refusal(401, "caller_unknown", "This model is served to known callers only.")
    raise Refusal(403, "tenant_not_allowed", "This tenant may not call this model.")


def _name(scope: Message, which: bytes) -> str:
    value = header(scope, which)
    if value and not NAME.fullmatch(value):
        raise Refusal(400, "invalid_header", f"the header {which.decode()} is no name")
    return value or ""


def request_id_of(scope: Message, taken: set[str]) -> str:
    """Return the client's id if it is one and no running request has it, else a new one."""
    sent = next((value for key, value in scope["headers"] if key == REQUEST_ID), b"").decode("latin-1")
    if not NAME.fullmatch(sent):
        return uuid.uuid4().hex
    return f"{sent}-{uuid.uuid4().hex[:8]}" if sent in taken else sent


@dataclass(frozen=True)
class Trace:
    """What a client says it packed into its prompt: names and tokens, and the tokens of all."""

    segments: Sequence[tuple[str, int]]
    total: int

    def against(self, tokens: int | None) -> Object:
        """Compare with the tokens of the prompt; a tokenizer may differ by some at each border."""
        compared: Object = {"segments": self.segments, "total": self.total}
        if tokens is not None:
            allowance = SPECIAL_TOKENS + 2 * len(self.segments) + self.total // 100
            compared["difference"] = tokens - self.total
            compared["truncated"] = tokens < self.total - allowance
        return compared


def trace_of(scope: Message) -> Trace | None:
    """Read x-packing-trace; raises Refusal where it is not as documented."""
    text = header(scope, PACKING_TRACE)
    if text is None:
        return None
    if len(text) > LONGEST_TRACE:
        raise _bad_trace(f"it is longer than {LONGEST_TRACE} bytes")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_trace("it is no JSON") from None
    segments = content.get("segments") if isinstance(content, dict) else None
    if not isinstance(segments, list) or len(segments) > MOST_SEGMENTS:
        raise _bad_trace(f"`segments` has to be a list of at most {MOST_SEGMENTS}")
    named = [_segment(segment) for segment in segments]
    packed = sum(tokens for _, tokens in named)
    total = content.get("total", packed)
    if type(total) is not int or not packed <= total < LARGEST_COUNT:
        raise _bad_trace("`total` has to be a number, and no less than all segments together")
    return Trace(named, total)


def _segment(segment: object) -> tuple[str, int]:
    name, tokens = (segment.get("name"), segment.get("tokens")) if isinstance(segment, dict) else ("", 0)
    if not isinstance(name, str) or not SEGMENT.fullmatch(name):
        raise _bad_trace("a segment's `name` has to be 1 to 64 of letters, digits, dot, dash and underscore")
    if type(tokens) is not int or not 0 <= tokens < LARGEST_COUNT:
        raise _bad_trace("a segment's `tokens` has to be a number that is not negative")
    return name, tokens


def _bad_trace(why: str) -> Refusal:
    return Refusal(400, "invalid_packing_trace", f"{PACKING_TRACE.decode()} can't be read: {why}")


@dataclass
class Order:
    """A body that may go to the engine, and what of it counts."""

    body: Object
    texts: Sequence[str]
    """Every text that gets into the prompt."""
    ids: Sequence[Sequence[int]]
    """The prompts that are given as tokens."""
    sequences: int
    """How many answers the engine writes for it."""
    stream: bool
    wants_usage: bool

    def hashed(self) -> Iterator[bytes]:
        """Yield what the prompt's hash is of: its texts, or its lists of tokens as JSON."""
        if self.ids:
            yield from map(dump, self.ids)
        else:
            yield from map(str.encode, self.texts)


NOT_FOR_CLIENTS: Final = (
    "priority",
    "request_id",
    "session_id",
    "stream_interval",
    "kv_transfer_params",
    "ec_transfer_params",
)
"""Fields that steer the engine and change no answer: removed in silence.

With `stream_interval` an event would be many tokens, of which a stream that is left would count for one.
"""

REFUSED: Final = {
    "best_of": "ask for `n` answers instead",
    "chat_template": "the template is a part of the pinned model",
    "documents": "put them into a message, where their tokens can be counted",
    "logits_processors": "no code is run for a request",
    "media_io_kwargs": "only text is served",
    "mm_processor_kwargs": "only text is served",
    "prompt_embeds": "send text or token ids, which can be counted",
    "prompt_logprobs": "log probabilities of a prompt are not served",
    "truncate_prompt_tokens": "a prompt is not cut in silence; send a shorter one",
    "use_beam_search": "beam search is not served",
    "vllm_xargs": "extensions are not open to clients",
}
"""Fields that would change what is answered or get around a limit: refused, with the reason."""

IN_TEMPLATE: Final = ("tools", "chat_template_kwargs", "reasoning_effort")
"""What of a chat gets into the prompt beside its messages, and only the template knows how."""

TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "thinking"})
PART_KEYS: Final = frozenset({"type", "text", "refusal", "thinking", "closed", "cache_control"})


def read_order(path: str, raw: bytes, settings: Settings) -> Order:
    """Check a body against the lane; raises Refusal."""
    body = _object(raw)
    if body.get("best_of") == 1:
        del body["best_of"]
    for name, reason in REFUSED.items():
        if _is_set(body, name):
            raise invalid(name, f"`{name}` is not allowed: {reason}.", "not_allowed")
    for name in NOT_FOR_CLIENTS:
        body.pop(name, None)
    stream = _flag(body, "stream")
    if settings.must_stream and not stream:
        raise invalid("stream", "This model only streams: set `stream` to true.", "streaming_required")
    _check_output(body, settings.max_output)
    texts, ids = _chat_prompt(body) if path == CHAT else _completion_prompt(body)
    answers = _number(body, "n", 1)
    return Order(
        body=body,
        texts=texts,
        ids=ids,
        sequences=max(1, answers) * max(1, _prompts(body)),
        stream=stream,
        wants_usage=_force_usage(body) if stream else True,
    )


def _object(raw: bytes) -> Object:
    try:
        body = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        # Without its cause, which repeats the body.
        raise Refusal(400, "invalid_json", "The body is not JSON that can be read.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_json", "The body has to be a JSON object.")
    return body


def _no_number(_: str) -> None:
    raise ValueError("not a number")


def _flag(body: Object, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(name, f"`{name}` has to be true or false.")
    return bool(value)


def _is_set(body: Object, name: str) -> bool:
    value = body.get(name)
    return value is not None and value is not False


def _number(body: Object, name: str, default: int) -> int:
    """Return an integer field; the engine would take `"8"` and `8.0` for 8 too, past every check."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int:
        raise invalid(name, f"`{name}` has to be an integer.")
    return value


def _check_output(body: Object, cap: int) -> None:
    for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
        asked = _number(body, name, 0)
        if asked > cap:
            message = f"`{name}` is {asked}, but at most {cap} tokens are generated here."
            raise invalid(name, message, "max_tokens_exceeded")
    if _is_set(body, "echo") and _is_set(body, "logprobs"):
        message = "`echo` with `logprobs` is not allowed: log probabilities of a prompt are not served."
        raise invalid("echo", message, "not_allowed")


def _prompts(body: Object) -> int:
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


def _completion_prompt(body: Object) -> tuple[Sequence[str], Sequence[Sequence[int]]]:
    prompt, suffix = body.get("prompt"), body.get("suffix")
    if not prompt:
        raise invalid("prompt", "`prompt` is missing or empty.")
    if suffix is not None and not isinstance(suffix, str):
        raise invalid("suffix", "`suffix` has to be a text.")
    texts, ids = _prompt_parts(prompt)
    if suffix and ids:
        raise invalid("suffix", "`suffix` needs a `prompt` of text.")
    return [*_encodable([*texts, suffix] if suffix else texts, "prompt")], ids


def _prompt_parts(prompt: object) -> tuple[list[str], Sequence[Sequence[int]]]:
    if isinstance(prompt, str):
        return [prompt], ()
    if isinstance(prompt, list):
        kinds = set(map(type, prompt))
        if kinds == {str}:
            return prompt, ()
        if kinds == {int}:
            return [], (prompt,)
        if kinds == {list} and all(set(map(type, one)) == {int} for one in prompt):
            return [], prompt
    raise invalid("prompt", "`prompt` has to be a text, a list of token ids, or a list of either.")


def _encodable(texts: Iterable[str], param: str) -> Iterator[str]:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise invalid(param, f"`{param}` has a surrogate without its pair, which is no text.") from None
        yield text


def _chat_prompt(body: Object) -> tuple[Sequence[str], Sequence[Sequence[int]]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise invalid("messages", "`messages` has to be a list of at least one message.")
    for message in messages:
        if isinstance(message.get("content"), list) and not all(map(_is_text, message["content"])):
            raise invalid("messages", "A message's content may only be text.", "only_text")
    kwargs = body.get("chat_template_kwargs")
    if isinstance(kwargs, dict) and not kwargs.keys().isdisjoint({"chat_template", "tokenize"}):
        raise invalid("chat_template_kwargs", "The template is a part of the pinned model.", "not_allowed")
    return [
        *_encodable(_strings(messages), "messages"),
        *(text for name in IN_TEMPLATE for text in _encodable(_strings(body.get(name)), name)),
    ], ()


def _is_text(part: object) -> bool:
    if isinstance(part, dict):
        return part.get("type") in TEXT_PARTS and part.keys() <= PART_KEYS
    return isinstance(part, str)


def _strings(content: object) -> Iterator[str]:
    """Yield every text inside of JSON, keys too."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += reversed([part for item in one.items() for part in item])
        elif isinstance(one, list):
            waiting += reversed(one)


def _force_usage(body: Object) -> bool:
    """Have the stream end with its token counts; return whether the client asked for them."""
    options = body.get("stream_options")
    if not isinstance(options, (dict, type(None))):
        raise invalid("stream_options", "`stream_options` has to be an object.")
    if options and _flag(options, "include_usage"):
        return True
    body["stream_options"] = {"include_usage": True}
    return False


# Budgets: what a tenant and each of its users may spend in a minute.

SPENT: Final = {"requests": "requests", "inputTokens": "input tokens", "outputTokens": "output tokens"}
"""What is limited by the minute: names in the settings, and what people call it."""

USED_UP: Final = {
    "requests": ("tenant_requests", "user_requests"),
    "inputTokens": ("tenant_input_tokens", "user_input_tokens"),
    "outputTokens": ("tenant_output_tokens", "user_output_tokens"),
}
"""The codes of what is refused for it."""


class Budget:
    """What was spent of a limit in the last minute, and what is owed.

    What goes beyond the limit is owed, and is spent by and by as the minute moves on: in no minute is more
    spent than the limit, and as long as something is owed nothing is left.
    """

    def __init__(self) -> None:
        self._slots: deque[list[float]] = deque()
        self._spent = 0.0
        self._owed = 0.0

    def left(self, limit: float, now: float) -> float:
        """Return what may be spent; negative by what is owed."""
        self._move_on(limit, now)
        return limit - self._spent - self._owed

    def spend(self, amount: float, limit: float, now: float) -> None:
        """Spend this much, be it left or not."""
        left = max(0.0, self.left(limit, now))
        self._book(min(amount, left), now)
        self._owed += max(0.0, amount - left)

    def give_back(self, amount: float, spent_at: float, now: float) -> None:
        """Undo what was spent at this time; what is more than a minute ago counts no more as it is."""
        if now - spent_at >= MINUTE:
            return
        forgiven = min(amount, self._owed)
        self._owed -= forgiven
        for slot in self._slots:
            if slot[0] == _slot(spent_at):
                returned = min(amount - forgiven, slot[1])
                slot[1] -= returned
                self._spent -= returned

    def seconds_until_left(self, limit: float, now: float) -> float:
        """Return after how long something is left again, if nobody spends: a minute where it is longer."""
        lacking = -self.left(limit, now)
        for begin, amount in self._slots:
            lacking -= amount
            if lacking < 0:
                return begin + SLOT_SECONDS + MINUTE - now
        return MINUTE

    def is_over(self, now: float) -> bool:
        """Say whether nothing is spent or owed any more, so that it may be forgotten."""
        return not self._owed and (not self._slots or self._slots[-1][0] + SLOT_SECONDS + MINUTE <= now)

    def _move_on(self, limit: float, now: float) -> None:
        while self._slots and (over := self._slots[0][0] + SLOT_SECONDS + MINUTE) <= now:
            self._spent -= self._slots.popleft()[1]
            self._pay(limit, over)
        if not self._slots:
            self._spent = 0.0
        self._pay(limit, now)

    def _pay(self, limit: float, now: float) -> None:
        paid = max(0.0, min(self._owed, limit - self._spent))
        self._owed -= paid
        self._book(paid, now)

    def _book(self, amount: float, now: float) -> None:
        if not amount:
            return
        begin = _slot(now)
        if self._slots and self._slots[-1][0] >= begin:
            self._slots[-1][1] += amount
        else:
            self._slots.append([begin, amount])
        self._spent += amount


def _slot(now: float) -> float:
    return now // SLOT_SECONDS * SLOT_SECONDS


@dataclass(frozen=True)
class Purse:
    """One limit that a request falls under, and whose it is."""

    caller: Caller | str
    """A user, or a whole tenant."""
    kind: str
    limit: float

    def refusal(self, wait: float) -> Refusal:
        """Say that nothing is left, and when there is again."""
        of_user = isinstance(self.caller, Caller)
        whose, what = "user" if of_user else "tenant", SPENT[self.kind]
        message = f"This {whose}'s limit of {self.limit:g} {what} a minute to a replica is reached."
        seconds = min(LONGEST_RETRY, max(1, math.ceil(wait)))
        return Refusal(429, USED_UP[self.kind][of_user], message, retry_after=seconds)


class Budgets:
    """The budgets of all who have spent something in the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._budgets: dict[tuple[Caller | str, str], Budget] = {}
        self._tidy_at = 0.0

    def admit(self, settings: Settings, caller: Caller, tokens: int) -> "Bill":
        """Spend a request and its estimated input; raises Refusal where anything is used up."""
        now, purses = self._clock(), _purses(settings, caller)
        self._tidy(now)
        for purse in purses:
            budget = self._of(purse)
            if budget.left(purse.limit, now) <= LEAST:
                raise purse.refusal(budget.seconds_until_left(purse.limit, now))
        return Bill(self, purses, now, {"requests": 1, "inputTokens": tokens})

    def spend(self, purse: Purse, amount: float) -> None:
        """Spend more, or less than was thought, of a request that was admitted."""
        self._of(purse).spend(amount, purse.limit, self._clock())

    def give_back(self, purse: Purse, amount: float, spent_at: float) -> None:
        """Undo what an admitted request had spent."""
        self._of(purse).give_back(amount, spent_at, self._clock())

    def _of(self, purse: Purse) -> Budget:
        return self._budgets.setdefault((purse.caller, purse.kind), Budget())

    def _tidy(self, now: float) -> None:
        """Forget who has spent nothing for a minute, once a minute."""
        if now < self._tidy_at:
            return
        self._tidy_at = now + MINUTE
        self._budgets = {key: budget for key, budget in self._budgets.items() if not budget.is_over(now)}


LEAST: Final = 1e-6
"""Less than this is an error of rounding and no more to spend."""


def _purses(settings: Settings, caller: Caller) -> Sequence[Purse]:
    share = settings.tenants.get(caller.tenant, Share())
    tenant = (Purse(caller.tenant, kind, limit) for kind, limit in share.per_minute.items())
    user = (Purse(caller, kind, limit) for kind, limit in share.per_user_per_minute.items())
    return [*tenant, *user]


class Bill:
    """What one request has spent: its input before it runs, its output as it comes."""

    def __init__(
        self, budgets: Budgets, purses: Sequence[Purse], moment: float, spent: Mapping[str, int]
    ) -> None:
        self._budgets = budgets
        self._purses = {kind: [purse for purse in purses if purse.kind == kind] for kind in SPENT}
        self._moment = moment
        self._spent = dict.fromkeys(SPENT, 0)
        for kind, amount in spent.items():
            self.settle(kind, amount)

    @property
    def needs_input(self) -> bool:
        """Whether the exact tokens of the input have to be known."""
        return bool(self._purses["inputTokens"])

    def settle(self, kind: str, total: int) -> None:
        """Make what is spent of this kind exactly so much."""
        more = total - self._spent[kind]
        self._spent[kind] = total
        for purse in self._purses[kind]:
            if more > 0:
                self._budgets.spend(purse, more)
            elif more < 0:
                self._budgets.give_back(purse, -more, self._moment)

    def tear_up(self) -> None:
        """Give everything back: nothing was done for the request."""
        for kind in SPENT:
            self.settle(kind, 0)


def estimated(order: Order) -> int:
    """Return what the tokens of the input may be, until they are counted."""
    return sum(map(len, order.ids)) or sum(map(len, order.texts)) // CHARACTERS_PER_TOKEN + 1


# Places: how many generations this process lets the engine have at a time.


class Places:
    """Who is inside, who waits, and who asks too much at a time."""

    def __init__(self, capacity: Callable[[], int]) -> None:
        """`capacity` is asked again whenever a place may have become free."""
        self._capacity = capacity
        self._taken = 0
        self._tenants: Counter[str] = Counter()
        self._users: Counter[Caller] = Counter()
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._seconds = 1.0

    @asynccontextmanager
    async def held(self, settings: Settings, caller: Caller, sequences: int) -> AsyncIterator[None]:
        """Hold so many places, after a wait where the lane waits; raises Refusal where there are none."""
        self._check(settings, caller, sequences)
        self._tenants[caller.tenant] += sequences
        self._users[caller] += sequences
        try:
            await self._take(settings, sequences)
            since = time.monotonic()
            try:
                yield
            finally:
                self._seconds += 0.1 * (time.monotonic() - since - self._seconds)
                self._give_back(sequences)
        finally:
            _lower(self._tenants, caller.tenant, sequences)
            _lower(self._users, caller, sequences)

    def _check(self, settings: Settings, caller: Caller, sequences: int) -> None:
        share = settings.tenants.get(caller.tenant, Share())
        per_user = share.per_user
        _check_fit(sequences, settings.places, "places of a replica")
        _check_fit(sequences, share.concurrent, "concurrent requests of this tenant")
        _check_fit(sequences, per_user, "concurrent requests of one user")
        taken = self._tenants[caller.tenant]
        if share.concurrent is not None and taken + sequences > share.concurrent:
            message = (
                f"This tenant's limit of {share.concurrent} concurrent requests to a replica is reached."
            )
            raise self._busy("tenant_concurrency", message, taken)
        taken = self._users[caller]
        if per_user is not None and taken + sequences > per_user:
            message = f"This user's limit of {per_user} concurrent requests to a replica is reached."
            raise self._busy("user_concurrency", message, taken)

    async def _take(self, settings: Settings, sequences: int) -> None:
        self._admit()
        if not self._waiting and self._taken + sequences <= settings.places:
            self._taken += sequences
            return
        if not (settings.waits and settings.max_wait) or len(self._waiting) >= MOST_WAITING:
            raise self._full(settings)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = sequences
        try:
            await asyncio.wait({turn}, timeout=settings.max_wait)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(sequences)
            raise
        finally:
            self._waiting.pop(turn, None)
            self._admit()
        if not turn.done():
            raise self._full(settings)

    def _give_back(self, sequences: int) -> None:
        self._taken -= sequences
        self._admit()

    def _admit(self) -> None:
        """Let those in who came first."""
        free = self._capacity() - self._taken
        for turn, sequences in list(self._waiting.items()):
            if sequences > free:
                return
            free -= sequences
            self._taken += sequences
            del self._waiting[turn]
            turn.set_result(None)

    def _full(self, settings: Settings) -> Refusal:
        message = f"All {settings.places} places of this model's replica are taken."
        return self._busy("queue_full", message, settings.places, 1 + sum(self._waiting.values()))

    def _busy(self, code: str, message: str, running: int, ahead: int = 1) -> Refusal:
        """Say when to come back: when so many have ended, at the pace of the last ones."""
        seconds = math.ceil(self._seconds * ahead / max(1, running))
        return Refusal(429, code, message, retry_after=min(LONGEST_RETRY, max(1, seconds)))


def _check_fit(sequences: int, limit: int | None, what: str) -> None:
    """Refuse for good what no wait would let in."""
    if limit is not None and sequences > max(limit, 1):
        message = f"This request asks for {sequences} answers at once, more than the {limit} {what}."
        raise Refusal(400, "too_many_sequences", message)


def _lower(counts: "Counter[Any]", key: object, by: int) -> None:
    counts[key] -= by
    if not counts[key]:
        del counts[key]


# The engine's own tokenizer, asked inside the process.


class Tokenizer:
    """What a prompt is in tokens; a question to the app that is guarded, as if it came over HTTP."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._template: int | None = None

    async def count(self, scope: Message, order: Order, cap: int, *, exact: bool = False) -> int | None:
        """Return the exact tokens of all prompts, or None where they are surely no more than the cap.

        Raises Refusal where the engine can't count them.
        """
        if order.ids:
            return sum(map(len, order.ids))
        if not exact and await self._bound(scope, order, cap) <= cap:
            return None
        asked = [await self.tokens(scope, question) for question in _questions(order)]
        return sum(map(len, asked))

    async def tokens(self, scope: Message, question: Object) -> list[int]:
        """Return the tokens of a text or a chat; raises Refusal with the engine's reason."""
        tokens: list[int] = (await self._ask(scope, "/tokenize", question))["tokens"]
        return tokens

    async def text(self, scope: Message, ids: Sequence[int]) -> str:
        """Return the text of tokens; raises Refusal with the engine's reason."""
        text: str = (await self._ask(scope, "/detokenize", {"tokens": ids}))["prompt"]
        return text

    async def _bound(self, scope: Message, order: Order, cap: int) -> float:
        """Return what the tokens are surely no more than: a token is at least one byte of normalized text."""
        size = sum(map(_longest, order.texts))
        if "prompt" in order.body or size > cap:
            return size + SPECIAL_TOKENS * (1 + order.sequences)
        if any(order.body.get(name) for name in IN_TEMPLATE):
            return math.inf
        if self._template is None:
            probe = {"messages": [{"role": "user", "content": "x"}]}
            self._template = len(await self.tokens(scope, probe))
        return size + self._template + MESSAGE_TOKENS * len(order.body["messages"])

    async def _ask(self, scope: Message, path: str, question: Object) -> Object:
        body, reply = dump(question), Reply()
        await self._app(_inside(scope, path, body), Feed(body).receive, reply.send)
        return reply.content()


def _longest(text: str) -> int:
    return len(text) if text.isascii() else NORMALIZED_GROWTH * len(text.encode())


SPECIALS: Final = "add_special_tokens"
OF_TEMPLATE: Final = (
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    SPECIALS,
    "chat_template_kwargs",
)


def _questions(order: Order) -> list[Object]:
    if "prompt" in order.body:
        special = {SPECIALS: order.body[SPECIALS]} if order.body.get(SPECIALS) is not None else {}
        return [{"prompt": text, **special} for text in order.texts]
    chat = {name: order.body[name] for name in OF_TEMPLATE if order.body.get(name) is not None}
    return [chat | _reasoning(order.body)]


def _reasoning(body: Object) -> Object:
    """Tell the template of the effort what vLLM tells it in a chat; /tokenize takes no effort."""
    effort, kwargs = body.get("reasoning_effort"), body.get("chat_template_kwargs") or {}
    if effort is None or not isinstance(kwargs, dict):
        return {}
    told = {"enable_thinking": effort != "none", **kwargs, "reasoning_effort": effort}
    return {"chat_template_kwargs": told}


def _inside(scope: Message, path: str, body: bytes) -> Message:
    """Return the scope of a question to the app itself."""
    length = b"%d" % len(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    inner = {
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    return {**scope, **inner}


class Feed:
    """A body for the app that is guarded: given at once, and after it nothing until somebody hangs up."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        """Stand in the place of ASGI's `receive`."""
        if self._body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    def hang_up(self) -> None:
        """Tell the app that nobody waits for its answer."""
        self._left.set()


class Reply:
    """The answer to a question to the app itself."""

    def __init__(self) -> None:
        self._status = 0
        self._parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        """Stand in the place of ASGI's `send`."""
        self._status = message.get("status", self._status)
        self._parts.append(message.get("body", b""))

    def content(self) -> Object:
        """Return the JSON of a 200; raises Refusal with the engine's words for another."""
        content: Object = json.loads(b"".join(self._parts) or b"{}")
        if self._status == HTTPStatus.OK:
            return content
        error = content.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        theirs = HTTPStatus.BAD_REQUEST <= self._status < HTTPStatus.INTERNAL_SERVER_ERROR
        status = self._status if theirs else HTTPStatus.SERVICE_UNAVAILABLE
        raise Refusal(
            status, "prompt_not_counted", f"The prompt's tokens can't be counted: {said or self._status}"
        )


# The answer: passed on as it comes, with the pins on it, and counted on the way.

FINISH: Final = re.compile(rb'"finish_reason":\s*"([a-z_]{1,32})"')
USAGE: Final = b'"usage":'
"""Inside of a text the quotes would be escaped, so that no output can pass for this."""
LONGEST_USAGE: Final = 4096
EVENT: Final = b"data: "
DONE: Final = b"data: [DONE]\n\n"


@dataclass
class Count:
    """What is known of an answer."""

    prompt: int | None = None
    output: int | None = None
    finish: str | None = None
    failed: bool = False
    events: int = 0

    @property
    def tokens(self) -> int:
        """The tokens of the output: the engine's own count, until it comes that of the events."""
        return self.events if self.output is None else self.output

    def take(self, usage: object) -> None:
        """Take the engine's own count, if this is one."""
        if isinstance(usage, dict) and type(usage.get("prompt_tokens")) is int:
            self.prompt = usage["prompt_tokens"]
            self.output = usage.get("completion_tokens") or 0

    def take_finish(self, data: bytes) -> None:
        """Take the reason of the last choice that ends in these bytes."""
        for found in FINISH.finditer(data):
            self.finish = found[1].decode()


class Events:
    """The events of a stream: counted, and without the token counts that only the guard had asked for."""

    def __init__(self, count: Count, *, keeps_usage: bool) -> None:
        self._count = count
        self._keeps_usage = keeps_usage
        self._rest = b""

    def pass_on(self, data: bytes, *, more: bool) -> bytes:
        """Return what of the stream may go on; the start of an event waits for its end."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if more and not data.endswith(b"\n\n"):
            end = data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
            data, self._rest = data[:end], data[end:]
        # A chat begins with a role for each choice, before any token.
        self._count.events += data.count(b'"choices":[{') - data.count(b'"delta":{"role"')
        if b'"finish_reason":"' in data:
            self._count.take_finish(data)
        if data.startswith(b'data: {"error"'):
            self._count.failed = True
        return self._counted(data) if USAGE in data else data

    def _counted(self, data: bytes) -> bytes:
        return b"\n\n".join(event for event in data.split(b"\n\n") if self._stays(event))

    def _stays(self, event: bytes) -> bool:
        if USAGE not in event or not event.startswith(EVENT):
            return True
        chunk = json.loads(event[len(EVENT) :])
        self._count.take(chunk.get("usage"))
        return self._keeps_usage or bool(chunk.get("choices"))


def count_whole(count: Count, body: bytes) -> None:
    """Count an answer that is one JSON object; usage comes after the choices, so the last one is it."""
    start = body.rfind(USAGE)
    if start >= 0:
        text = body[start + len(USAGE) :][:LONGEST_USAGE].decode(errors="replace")
        with suppress(ValueError):
            count.take(json.JSONDecoder().raw_decode(text.lstrip())[0])
    count.take_finish(body)


class Answer:
    """What one client gets; nothing more once it is closed."""

    def __init__(self, send: Send, headers: RawHeaders) -> None:
        self.status: int | None = None
        self.count = Count()
        self.first: float | None = None
        self.whole = False
        self.bill: Bill | None = None
        self._send = send
        self._headers = headers
        self._held: Message | None = None
        self._events: Events | None = None
        self._parts: list[bytes] = []
        self._keeps_usage = True
        self._closed = False

    def expect(self, order: Order) -> None:
        """Say what was asked, before the engine answers."""
        self._keeps_usage = order.wants_usage

    async def relay(self, message: Message) -> None:
        """Take what the engine sends, in the place of ASGI's `send`."""
        if self._closed:
            return
        if message["type"] == "http.response.start":
            # Held until there is something to send, so that a late engine is still a 504.
            self._held = message
            return
        if message["type"] == "http.response.body":
            if self._held:
                await self._begin(self._held)
            passed = self._passed_on(message)
            if passed:
                await self._send(passed)

    def close(self) -> None:
        """Let nothing more of the engine through."""
        self._closed = True

    async def give(self, content: Object) -> None:
        """Answer by ourselves."""
        body = dump(content)
        await self._start(HTTPStatus.OK, _json_headers(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        """End with an error: as an answer of its own, else as the last event of a stream that has begun."""
        self._closed = True
        if self.whole:
            return
        body = refusal.body()
        if self.status is None:
            retry = refusal.retry_after
            again = [] if retry is None else [(b"retry-after", b"%d" % retry)]
            await self._start(refusal.status, _json_headers(body) + again)
        elif self._events:
            body = b"data: " + body + b"\n\n" + DONE
        else:
            # Half of a JSON object can't be mended: without its end the server closes the connection.
            return
        self.whole = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _begin(self, start: Message) -> None:
        self._held = None
        own = {name for name, _ in self._headers}
        theirs = [(name, value) for name, value in start.get("headers", ()) if name.lower() not in own]
        kind = next((value for name, value in theirs if name.lower() == b"content-type"), b"")
        if kind.startswith(b"text/event-stream"):
            self._events = Events(self.count, keeps_usage=self._keeps_usage)
        await self._start(start["status"], theirs)

    async def _start(self, status: int, headers: RawHeaders) -> None:
        self.status = status
        start = {"type": "http.response.start", "status": status, "headers": headers + self._headers}
        await self._send(start)

    def _passed_on(self, message: Message) -> Message | None:
        """Return what of a part of the answer goes on, None for nothing."""
        data, more = message.get("body", b""), message.get("more_body", False)
        if self._events:
            data = self._events.pass_on(data, more=more)
            if self.first is None and self.count.events:
                self.first = time.monotonic()
        else:
            self._parts.append(data)
        self.whole = not more
        if self.whole and not self._events:
            count_whole(self.count, b"".join(self._parts))
        if self.bill:
            self.bill.settle("outputTokens", self.count.tokens)
        if more and not data:
            return None
        return {"type": "http.response.body", "body": data, "more_body": more}


def _json_headers(body: bytes) -> RawHeaders:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


# One generation from its arrival to its line in the log.


class Client:
    """Who sent the request and may hang up at any time."""

    def __init__(self, receive: Receive) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_asked = False
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None

    async def body(self, bound: int) -> bytes:
        """Read the body, and listen from then on; raises Refusal where it is too long, ClientGoneError."""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > bound:
                raise Refusal(413, "request_too_large", f"The body is longer than {bound} bytes.")
        self.has_asked = True
        self._listener = asyncio.create_task(self._listen())
        return b"".join(parts)

    def ignore(self) -> None:
        """Stop listening."""
        if self._listener:
            self._listener.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set_result(None)


def _now() -> datetime:
    return datetime.now(timezone.utc)  # noqa: UP017 -- Python 3.10 has no other name for it


@dataclass
class Generation:
    """What the log says of one request, as far as it is known."""

    path: str
    request_id: str
    answer: Answer
    identity: Mapping[str, str]
    caller: Caller = Caller("", "")
    trace: Trace | None = None
    order: Order | None = None
    tokens: int | None = None
    feed: Feed | None = None
    """The engine's body; None while the request has not reached the engine."""
    credentials: Mapping[str, int] | None = None
    finish: str = ""
    """How the guard ended it; empty where the engine did."""
    error: str = ""
    moment: datetime = field(default_factory=_now)
    arrived: float = field(default_factory=time.monotonic)
    queueing: float | None = None
    admitted: float | None = None

    def line(self, key: Key) -> Object:
        """Return the line; every value in it is a number, a name that was checked, or a keyed hash."""
        ended, count = time.monotonic(), self.answer.count
        tokens_in = self.tokens if count.prompt is None else count.prompt
        queued = 0.0 if self.queueing is None else (self.admitted or ended) - self.queueing
        line: Object = {
            "event": "generation",
            "time": self.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestId": self.request_id,
            **{name: self.identity.get(name, "") for name in LOGGED_IDENTITY},
            "tenant": self.caller.tenant or None,
            "user": self.caller.user or None,
            "path": self.path,
            "stream": self.order.stream if self.order else None,
            "tokensIn": tokens_in,
            "tokensOut": count.tokens,
            "exact": count.output is not None,
            "status": self.answer.status or CLIENT_CLOSED_REQUEST,
            "finish": self._finish(),
            "queuedSeconds": round(queued, 6),
            "firstTokenSeconds": self.answer.first and round(self.answer.first - self.arrived, 6),
            "seconds": round(ended - self.arrived, 6),
            "promptHash": key.of("prompt", *self.order.hashed()) if self.order else None,
            "promptHashKey": key.source,
        }
        found = {
            "credentials": self.credentials,
            "packing": self.trace and self.trace.against(tokens_in),
            "error": self.error,
        }
        return line | {name: value for name, value in found.items() if value}

    def close(self) -> None:
        """Let a request have cost nothing that nothing was done for."""
        if self.answer.bill and (self.feed is None or self._is_refused()):
            self.answer.bill.tear_up()

    def _is_refused(self) -> bool:
        refused = self._finish().startswith(("rejected:", "error"))
        return refused and not self.answer.count.tokens

    def _finish(self) -> str:
        status, count = self.answer.status, self.answer.count
        if self.finish:
            return self.finish
        if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or count.failed:
            return "error"
        if status >= HTTPStatus.BAD_REQUEST:
            return f"rejected:{status}"
        return "error" if count.finish in (None, "abort") else str(count.finish)


LOGGED_IDENTITY: Final = (
    "revision",
    "model",
    "modelRevision",
    "tokenizerRevision",
    "licenseID",
    "queueClass",
)
CLIENT_CLOSED_REQUEST: Final = 499
PIN_HEADERS: Final = (
    (b"x-pilothouse-revision", "revision"),
    (b"x-model-revision", "modelRevision"),
    (b"x-tokenizer-revision", "tokenizerRevision"),
    (b"x-license-id", "licenseID"),
)
REMOVED_HEADERS: Final = frozenset(
    {
        b"x-vllm-priority",
        b"x-data-parallel-rank",
        b"x-session-id",
        b"endpoint-load-metrics-format",
        b"content-length",
        b"transfer-encoding",
        REQUEST_ID,
    }
)
"""What steers the engine or asks for its load is not a client's; the others are written anew."""


class Guard:
    """The middleware. Each request ends, with an error if need be; the engine's process lives on."""

    def __init__(self, app: App, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the environment of the container, and nothing of it that is missing can stop the engine."""
        self._app = app
        self._log = Log()
        self._settings = Watched(os.environ.get("PILOTHOUSE_SETTINGS", ""), parse_settings, self._log)
        self._key = Key(Watched(os.environ.get("PILOTHOUSE_PROMPT_KEY", ""), parse_key, self._log))
        self._scanner = Watched(str(Path(__file__).with_name("credentials.json")), parse_rules, self._log)
        self._tokenizer = Tokenizer(app)
        self._places = Places(self._capacity)
        self._budgets = Budgets(clock)
        self._active: set[str] = set()
        self._digest = digest(Path(__file__).read_bytes())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        if scope["type"] == "http":
            await self._route(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    async def _route(self, scope: Message, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "POST" and path in GENERATIONS:
            await self._generate(scope, receive, send)
        elif method == "GET" and path in OPEN:
            await self._app(scope, receive, send)
        elif method == "GET" and path == MODELS:
            await self._models(scope, receive, self._answer(scope, send))
        else:
            await self._own(scope, self._answer(scope, send))

    async def _models(self, scope: Message, receive: Receive, answer: Answer) -> None:
        """Refuse whom a gateway names and who may not call; the cluster itself asks without a name."""
        settings = self._settings.value()
        try:
            caller = caller_of(scope)
            if settings and caller.tenant:
                check_caller(caller, scope, settings)
        except Refusal as refusal:
            await answer.refuse(refusal)
        else:
            await self._app(scope, receive, answer.relay)

    async def _own(self, scope: Message, answer: Answer) -> None:
        pages = {ABOUT: self._about, PROBES: self._probes}
        page = pages.get(scope["path"])
        if page is None or scope["method"] != "GET":
            await answer.refuse(Refusal(404, "not_found", "There is nothing here."))
            return
        try:
            await answer.give(await page(scope))
        except Refusal as refusal:
            await answer.refuse(refusal)

    async def _about(self, _: Message) -> Object:
        settings = self._settings.value()
        return {
            "guard": self._digest,
            "settings": settings and settings.digest,
            "identity": settings and settings.identity,
            "manifest": _read_json(
                Path(os.environ.get("PILOTHOUSE_RUN", "/run/pilothouse"), "manifest.json")
            ),
            "pod": os.environ.get("PILOTHOUSE_POD", ""),
            "lostLines": self._log.lost,
        }

    async def _probes(self, scope: Message) -> Object:
        texts = _read_json(Path(os.environ.get("PILOTHOUSE_SETTINGS", "")).with_name("probes.json"))
        if texts is None:
            raise Refusal(503, "no_probes", "The probe texts can't be read.")
        return {"tokens": [await self._tokenizer.tokens(scope, {"prompt": text}) for text in texts]}

    async def _generate(self, scope: Message, receive: Receive, send: Send) -> None:
        settings = self._settings.value()
        request_id = request_id_of(scope, self._active)
        answer = Answer(send, _pins(settings, request_id))
        generation = Generation(scope["path"], request_id, answer, settings.identity if settings else {})
        self._active.add(request_id)
        try:
            await self._answered(generation, settings, scope, Client(receive))
        finally:
            self._active.discard(request_id)
            generation.close()
            self._write(generation, settings)

    async def _answered(
        self, generation: Generation, settings: Settings | None, scope: Message, client: Client
    ) -> None:
        """See to it that whatever happens the client has an answer, and the log knows how it ended."""
        try:
            await self._supervised(generation, _in_force(settings), scope, client)
        except Refusal as refusal:
            generation.finish = f"rejected:{refusal.code}"
            await _soon(generation.answer.refuse(refusal))
        except ClientGoneError:
            generation.finish = "cancelled"
        except asyncio.CancelledError:
            generation.finish = "cancelled"
            raise
        except Exception as error:  # noqa: BLE001 -- the edge: whatever broke, this request ends and the engine lives
            generation.error = type(error).__name__
            generation.finish = "" if generation.answer.whole else "error"
            await _soon(generation.answer.refuse(Refusal(500, "internal_error", "The request failed.")))

    async def _supervised(
        self, generation: Generation, settings: Settings, scope: Message, client: Client
    ) -> None:
        work = asyncio.ensure_future(self._work(generation, settings, scope, client))
        try:
            ends = {work, client.gone}
            await asyncio.wait(ends, timeout=settings.timeout, return_when=asyncio.FIRST_COMPLETED)
            if generation.answer.whole:
                # A server calls a client gone that has its whole answer; the engine is about to return.
                await asyncio.wait({work}, timeout=LEAVE_SECONDS)
            if work.cancelled():
                raise Refusal(502, "engine_error", "The engine dropped the request.")
            if work.done():
                work.result()
                return
            if not generation.answer.whole:
                await _stop(generation, client, work)
        finally:
            # What the engine still sends would get past the line, which is written next.
            generation.answer.close()
            client.ignore()
            work.cancel()
        if generation.finish == "timeout":
            await _soon(generation.answer.refuse(_late(settings, client)))

    async def _work(self, generation: Generation, settings: Settings, scope: Message, client: Client) -> None:
        generation.caller = caller_of(scope)
        check_caller(generation.caller, scope, settings)
        generation.trace = trace_of(scope)
        raw = await client.body(settings.body_bound)
        order = read_order(generation.path, raw, settings)
        _check_size(order, BYTES_PER_TOKEN * settings.max_input)
        order.body["cache_salt"] = self._salt(generation.caller, order)
        body = _payload(order)
        generation.order = order
        generation.answer.expect(order)
        bill = generation.answer.bill = self._budgets.admit(settings, generation.caller, estimated(order))
        generation.queueing = time.monotonic()
        async with self._places.held(settings, generation.caller, order.sequences):
            generation.admitted = time.monotonic()
            generation.tokens = await self._tokenizer.count(
                scope, order, settings.max_input, exact=bill.needs_input
            )
            _check_length(generation.tokens, settings.max_input)
            bill.settle("inputTokens", generation.tokens or 0)
            await self._check_credentials(generation, settings, scope, order)
            generation.feed = Feed(body)
            inner = _scope_of(scope, generation.request_id, len(body))
            await self._app(inner, generation.feed.receive, generation.answer.relay)
        if not generation.answer.whole:
            raise Refusal(502, "engine_error", "The engine ended without an answer.")

    def _salt(self, caller: Caller, order: Order) -> str:
        """Part the prefix caches of tenants, and within a tenant those of a client that asks for it."""
        own = order.body.get("cache_salt")
        if own is not None and not isinstance(own, str):
            raise invalid("cache_salt", "`cache_salt` has to be a text.")
        return self._key.of("cache-salt", caller.tenant.encode(), (own or "").encode(errors="surrogatepass"))

    async def _check_credentials(
        self, generation: Generation, settings: Settings, scope: Message, order: Order
    ) -> None:
        """Refuse a prompt with credentials; where they are only reported, that waits for the answer's end."""
        if settings.scan == "Off":
            return
        try:
            if order.ids:
                order.texts = [await self._tokenizer.text(scope, ids) for ids in order.ids]
        except Exception as error:
            if settings.scan == "Reject":
                raise
            generation.error = type(error).__name__
        if settings.scan != "Reject":
            return
        self._scan(generation, order)
        if generation.credentials:
            kinds = ", ".join(sorted(generation.credentials))
            raise Refusal(400, "credentials_found", f"The prompt contains credentials: {kinds}.")

    def _scan(self, generation: Generation, order: Order) -> None:
        scanner = self._scanner.value()
        if scanner is None:
            raise Refusal(503, "no_scanner", "The patterns of credentials can't be read.")
        generation.credentials = scanner.kinds("\n".join(order.texts))

    def _write(self, generation: Generation, settings: Settings | None) -> None:
        try:
            if settings and settings.scan == "Report" and generation.order and generation.feed:
                self._scan(generation, generation.order)
        except Exception as error:  # noqa: BLE001 -- the line is written whatever happens
            generation.error = generation.error or type(error).__name__
        self._log.write(generation.line(self._key))

    def _capacity(self) -> int:
        settings = self._settings.value()
        return settings.places if settings else 0

    def _answer(self, scope: Message, send: Send) -> Answer:
        return Answer(send, _pins(self._settings.value(), request_id_of(scope, set())))


def parse_rules(raw: bytes) -> Scanner:
    """Read credentials.json; raises ValueError, LookupError or TypeError where it is none."""
    try:
        return Scanner(json.loads(raw))
    except re.error as error:
        raise ValueError("a pattern that is none") from error


def _read_json(path: Path) -> Any:  # noqa: ANN401 -- JSON
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _pins(settings: Settings | None, request_id: str) -> RawHeaders:
    identity = settings.identity if settings else {}
    pins = [(header, identity[name].encode()) for header, name in PIN_HEADERS if identity.get(name)]
    return [*pins, (REQUEST_ID, request_id.encode())]


def _payload(order: Order) -> bytes:
    try:
        return dump(order.body)
    except (ValueError, RecursionError):
        raise Refusal(
            400, "invalid_json", "The body has a number that is too large, or is nested too deep."
        ) from None


def _check_size(order: Order, cap: int) -> None:
    """Keep from the tokenizer what is far too long anyway, so that nobody's prompt waits for it there."""
    characters = sum(map(len, order.texts))
    if characters > cap:
        message = f"The prompt has {characters} characters, but at most {cap} are read here."
        raise Refusal(400, "context_length_exceeded", message)


def _check_length(tokens: int | None, cap: int) -> None:
    if tokens is not None and tokens > cap:
        message = f"The prompt has {tokens} tokens, but at most {cap} are read here."
        raise Refusal(400, "context_length_exceeded", message)


def _scope_of(scope: Message, request_id: str, length: int) -> Message:
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in REMOVED_HEADERS]
    own = [(REQUEST_ID, request_id.encode()), (b"content-length", b"%d" % length)]
    return {**scope, "headers": kept + own}


async def _stop(generation: Generation, client: Client, work: "asyncio.Future[None]") -> None:
    """Take a request back from the engine: politely, then by force."""
    generation.finish = "cancelled" if client.gone.done() else "timeout"
    generation.answer.close()
    if generation.feed:
        generation.feed.hang_up()
        await asyncio.wait({work}, timeout=LEAVE_SECONDS)
    work.cancel()
    await asyncio.wait({work}, timeout=LEAVE_SECONDS)
    error = work.exception() if work.done() and not work.cancelled() else None
    if error and not isinstance(error, Refusal):
        generation.error = type(error).__name__


def _in_force(settings: Settings | None) -> Settings:
    if settings is None:
        raise Refusal(503, "no_settings", "The limits of this model can't be read.")
    return settings


def _late(settings: Settings, client: Client) -> Refusal:
    if client.has_asked:
        return Refusal(504, "timeout", f"The answer was not complete after {settings.timeout:g} s.")
    return Refusal(408, "request_timeout", f"The request was not complete after {settings.timeout:g} s.")


async def _soon(sending: Awaitable[None]) -> None:
    """Send to a client that may not read, and wait no longer than for one that does."""
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)
        if task.done():
            task.result()
    finally:
        task.cancel()
