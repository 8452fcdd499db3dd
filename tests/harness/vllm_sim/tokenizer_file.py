"""A model's own tokenizer: its tokenizer.json, read by the library that vLLM reads it with."""

from collections.abc import Iterable
from pathlib import Path

import tokenizers

from harness.vllm_sim.tokenizer import Tokenizer


class TokenizerFile(Tokenizer):
    """The tokenizer of one file; `end_of_text` is the model's, whose configuration names it."""

    def __init__(self, file: Path, end_of_text: int | None) -> None:
        self.end_of_text = end_of_text
        self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        self._added = self._tokenizer.get_added_tokens_decoder()

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def decode(self, ids: Iterable[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def to_bytes(self, token: int) -> bytes:
        if token in self._added:
            added = self._added[token]
            return b"" if added.special else added.content.encode()
        text = self._tokenizer.id_to_token(token) or ""
        if all(character in _BYTES for character in text):
            return bytes(_BYTES[character] for character in text)
        return text.encode()


def _byte_level() -> dict[str, int]:
    """The byte for which each character stands in a byte-level vocabulary, as GPT-2 began it."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    others = {chr(256 + index): byte for index, byte in enumerate(hidden)}
    return {chr(byte): byte for byte in shown} | others


_BYTES = _byte_level()
