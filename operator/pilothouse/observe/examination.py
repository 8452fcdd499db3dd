"""The tests of one engine, one after the other; what must hold is `plan.preflight.Expected`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from itertools import chain, cycle, islice
from typing import Final

from pilothouse.errors import OtherTokens, Retryable, Unreachable, WrongAnswer
from pilothouse.observe.engineapi import Completion, EngineApi
from pilothouse.observe.slot import Slot
from pilothouse.observe.whole import Whole
from pilothouse.plan.preflight import Expected, Findings, name_conflict, tokenizer_change
from pilothouse.plan.probes import PROBES, Tokens, fingerprint
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)

_SHORT_PROMPT: Final = 64
_SHORT_ANSWER: Final = 16
_STABLE_SECONDS: Final = 10.0


class Examination:
    """Runs the tests; `test` names the one under way, or the last one."""

    def __init__(
        self, engine: EngineApi, stable: Sequence[EngineApi], expected: Expected, slot: Slot
    ) -> None:
        self.test = ""
        self._engine = engine
        self._stable = stable
        self._expected = expected
        self._slot = slot
        self._tokens: Tokens = ()
        self._first_token_seconds = 0.0
        self._notes: list[str] = []

    async def run(self) -> Findings:
        """Run all tests; raises WrongAnswer for the first that fails, Retryable where one can't be done."""
        self._notes.clear()
        tests: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("served name", self._served_name),
            ("tokenizer", self._tokenizer),
            ("streaming", self._streaming),
            ("prompt over the cap", self._refusal),
            ("cancellation", self._cancellation),
            ("long context", self._long_context),
        )
        for self.test, test in tests:
            await test()
        return Findings(fingerprint(self._tokens), self._first_token_seconds, tuple(self._notes))

    async def _served_name(self) -> None:
        conflict = name_conflict(self._expected)
        if conflict:
            raise WrongAnswer(conflict)
        found = await self._engine.served_names()
        if found[:1] != [self._expected.served_name]:
            raise WrongAnswer(f"the engine serves {found}, not {self._expected.served_name!r}")

    async def _tokenizer(self) -> None:
        self._tokens = await _tokens_of(self._engine)
        stable = await self._stable_tokens() if self._expected.compares else None
        change = tokenizer_change(self._expected, self._tokens, stable)
        if change:
            raise OtherTokens(change)

    async def _stable_tokens(self) -> Tokens | None:
        """Return stable's tokens; None where they can't be had and the verdict does not need them."""
        for engine in self._stable:
            try:
                async with asyncio.timeout(_STABLE_SECONDS):
                    return await _tokens_of(engine)
            except (TimeoutError, Retryable, WrongAnswer) as error:
                _log.info("A pod of stable gave no tokens", error=str(error) or type(error).__name__)
        if self._expected.fingerprint:
            return None
        if self._stable:
            raise Unreachable("no pod of stable gave its tokens")
        self._notes.append("stable had no ready pod to compare tokens with")
        return None

    async def _streaming(self) -> None:
        whole = await self._complete(_SHORT_PROMPT)
        self._first_token_seconds = whole.first_token_seconds

    async def _refusal(self) -> None:
        length = self._expected.cap + 1
        status = await self._engine.status_of(self._completion(length, 1))
        if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise WrongAnswer(f"{length} tokens, one more than the cap, are answered with HTTP {status}")

    async def _cancellation(self) -> None:
        completion = self._completion(_SHORT_PROMPT, self._expected.max_output_tokens)
        if not await self._slot.is_seen_freed_after(self._engine.stream(completion)):
            self._notes.append("whether cancellation frees the slot could not be seen")

    async def _long_context(self) -> None:
        length = self._expected.max_input_tokens
        whole = await self._complete(length)
        if whole.usage.prompt_tokens != length:
            raise WrongAnswer(f"of {length} tokens the engine read {whole.usage.prompt_tokens}")

    async def _complete(self, prompt_tokens: int) -> Whole:
        asked = min(_SHORT_ANSWER, self._expected.max_output_tokens)
        completion = self._completion(min(prompt_tokens, self._expected.max_input_tokens), asked)
        return await Whole.of(self._engine.stream(completion), completion)

    def _completion(self, prompt_tokens: int, max_tokens: int) -> Completion:
        """Ask with the tokens of the probe texts, over and over, so that a prompt has exactly this length."""
        ids = islice(cycle(chain.from_iterable(self._tokens)), prompt_tokens)
        return Completion(self._expected.served_name, tuple(ids), max_tokens)


async def _tokens_of(engine: EngineApi) -> Tokens:
    tokens = await engine.probe_tokens()
    if len(tokens) != len(PROBES) or not all(tokens):
        raise WrongAnswer("the engine gives no tokens for a text")
    return tokens
