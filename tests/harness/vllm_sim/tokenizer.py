"""What the engine asks of a tokenizer, built in or of a model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property


class Tokenizer(ABC):
    """Turns text into token ids and back."""

    end_of_text: int | None
    """The token that ends an answer; where there is none, answers end by their length."""

    @abstractmethod
    def __len__(self) -> int:
        """Size of the vocabulary."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens written in it are recognised."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Text of the tokens, special ones included."""

    @abstractmethod
    def to_bytes(self, token: int) -> bytes:
        """UTF-8 of one token, perhaps of a part of a character; nothing for a special one."""

    @cached_property
    def writable(self) -> Sequence[int]:
        """The tokens that an answer is made of: printable ASCII."""
        return [token for token in range(len(self)) if _printable(self.to_bytes(token))]


def _printable(utf8: bytes) -> bool:
    return bool(utf8) and utf8.isascii() and utf8.decode().replace("\n", " ").isprintable()
