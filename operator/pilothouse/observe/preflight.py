"""Examines a canary's pod before its first user's request: in time, and anew when it breaks off.

Who answers wrongly, or not in time, has failed. A conversation that could not be held, as nobody takes the
connection, says nothing of the engine and has no result.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import aiohttp

from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.errors import OtherTokens, Retryable, Unreachable, WrongAnswer
from pilothouse.names import ENGINE_PORT, Reason
from pilothouse.observe.engineapi import EngineApi
from pilothouse.observe.examination import Examination
from pilothouse.observe.slot import Slot
from pilothouse.observe.vllm import Engines, base_url
from pilothouse.plan.observed import Object
from pilothouse.plan.preflight import Findings, Preflight, failed, passed
from pilothouse.telemetry.logging import get_logger

_log: Final = get_logger(__name__)

_AGAIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a preflight may take, and how long a cancelled request may keep its slot, in seconds."""

    seconds: float
    freed_seconds: float = 10.0
    tokens_per_second: float = 500.0
    """The slowest prefill that is waited for: longer contexts get more time."""

    def for_cap(self, cap: int) -> float:
        """Return the seconds for an engine whose context holds this many tokens."""
        return self.seconds + cap / self.tokens_per_second


@dataclass(frozen=True, slots=True)
class Preflighter:
    """Examines pods, one call a pod."""

    session: aiohttp.ClientSession
    scrape: Engines
    patience: Patience
    port: int = ENGINE_PORT

    async def __call__(self, pod: Object, preflight: Preflight) -> PreflightStatus | None:
        """Return what was found of a ready pod of the canary, or None where it could not be asked."""
        examination = self._examination(pod, preflight)
        seconds = self.patience.for_cap(preflight.expected.cap)
        attempts = _Attempts()
        try:
            async with asyncio.timeout(seconds):
                return passed(pod, await attempts.until_over(examination))
        except OtherTokens as error:
            return failed(pod, Reason.TOKENIZER_CHANGED, f"{examination.test}: {error}")
        except WrongAnswer as error:
            return failed(pod, Reason.PREFLIGHT_FAILED, f"{examination.test}: {error}")
        except TimeoutError:
            return attempts.overdue(pod, examination.test, seconds)

    def _examination(self, pod: Object, preflight: Preflight) -> Examination:
        return Examination(
            engine=self._api(pod),
            stable=[self._api(each) for each in preflight.stable],
            expected=preflight.expected,
            slot=Slot(self.scrape, pod, self.patience.freed_seconds),
        )

    def _api(self, pod: Object) -> EngineApi:
        return EngineApi(self.session, base_url(pod, self.port))


@dataclass(slots=True)
class _Attempts:
    """Tries again whenever the conversation breaks off: a full engine or a lost connection may pass."""

    broken_by: Retryable | None = None
    broken_test: str = ""

    async def until_over(self, examination: Examination) -> Findings:
        while True:
            try:
                return await examination.run()
            except Retryable as error:
                self.broken_by, self.broken_test = error, examination.test
                _log.info("Preflight broke off, beginning anew", test=examination.test, error=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    def overdue(self, pod: Object, test: str, seconds: float) -> PreflightStatus | None:
        """Return the result of a pod that came to no end: none where the last attempt found nobody."""
        if isinstance(self.broken_by, Unreachable):
            return None
        over = f"{test}: not over after {seconds:.0f} s"
        last = f"; the last time {self.broken_test} broke off: {self.broken_by}" if self.broken_by else ""
        return failed(pod, Reason.PREFLIGHT_FAILED, over + last)
