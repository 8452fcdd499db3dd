"""The text of one answer as its tokens come: whole characters only, and nothing past a stop string."""

import codecs
from dataclasses import dataclass

from harness.vllm_sim.sampling import Sampling
from harness.vllm_sim.tokenizer import Tokenizer


@dataclass(frozen=True)
class Piece:
    """What one token adds to answer number `index`; finish_reason is set on the last piece only."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class Output:
    """Assembles one answer."""

    def __init__(self, tokenizer: Tokenizer, sampling: Sampling, index: int) -> None:
        self._tokenizer = tokenizer
        self._sampling = sampling
        self._index = index
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # A stop string may come in parts, so that many characters are held back.
        self._held_back = 0 if sampling.include_stop else max(map(len, sampling.stop), default=1) - 1
        self._text = ""
        self._sent = 0
        self.length = 0

    def add(self, token: int) -> Piece:
        """The piece that this token allows to send."""
        self.length += 1
        old = len(self._text)
        self._text += self._decoder.decode(self._tokenizer.to_bytes(token))
        finish_reason, stop_reason = self._end(token, old)
        if finish_reason and not isinstance(stop_reason, str):
            self._text += self._decoder.decode(b"", final=True)
        end = len(self._text) if finish_reason else max(self._sent, len(self._text) - self._held_back)
        text, self._sent = self._text[self._sent : end], end
        return Piece(self._index, text, (token,), finish_reason, stop_reason)

    def abort(self) -> Piece:
        """The last piece of an answer that is cut off."""
        return Piece(self._index, self._text[self._sent :], (), "abort")

    def _end(self, token: int, old: int) -> tuple[str | None, int | str | None]:
        """Finish and stop reason, if the answer ends here; cuts the text at a stop string."""
        sampling = self._sampling
        if self.length > sampling.min_tokens:
            if token == self._tokenizer.end_of_text and not sampling.ignore_eos:
                return "stop", None
            if token in sampling.stop_token_ids:
                return "stop", token
            if stop := self._stop_string(old):
                return "stop", stop
        return ("length", None) if self.length >= sampling.max_tokens else (None, None)

    def _stop_string(self, old: int) -> str | None:
        for stop in self._sampling.stop:
            start = self._text.find(stop, max(0, old - len(stop) + 1))
            if start >= 0:
                self._text = self._text[: start + len(stop) * self._sampling.include_stop]
                return stop
        return None
