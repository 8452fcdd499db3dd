"""A byte-level byte-pair tokenizer: any text becomes tokens and exactly the same text again.

Ids: the special tokens first, then the 256 bytes, then one id per merge of merges.json, in the merges' order.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from itertools import pairwise

from harness.vllm_sim.tokenizer import Tokenizer

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
END_OF_TEXT = 0
END_OF_TURN = 2
BYTES = len(SPECIALS)
FIRST_MERGE = BYTES + 256
# Merges stay within a word with the space before it, a number, a run of signs, or a run of blanks.
WORDS = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
SPECIAL = re.compile("(" + "|".join(re.escape(token) for token in SPECIALS) + ")")
Pair = tuple[int, int]


class BytePairs(Tokenizer):
    """Encodes and decodes with one table of merges, best first."""

    end_of_text = END_OF_TEXT

    def __init__(self, merges: Sequence[Pair]) -> None:
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._bytes = [b""] * BYTES + [bytes([value]) for value in range(256)]
        for left, right in merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._merged = lru_cache(maxsize=50_000)(self._merge)

    def __len__(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in SPECIAL.split(text):
            if part in SPECIALS:
                ids.append(SPECIALS.index(part))
                continue
            for word in WORDS.findall(part):
                ids += self._merged(word)
        return ids

    def to_bytes(self, token: int) -> bytes:
        return self._bytes[token]

    def decode(self, ids: Iterable[int]) -> str:
        parts = [SPECIALS[token].encode() if token < BYTES else self._bytes[token] for token in ids]
        return b"".join(parts).decode(errors="replace")

    def _merge(self, word: str) -> tuple[int, ...]:
        ids = [BYTES + byte for byte in word.encode("utf-8", "surrogatepass")]
        while len(ids) > 1:
            best = min(pairwise(ids), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            ids = join(ids, best, FIRST_MERGE + self._ranks[best])
        return tuple(ids)


def join(ids: Sequence[int], pair: Pair, token: int) -> list[int]:
    """The same ids with every occurrence of the pair replaced by the token."""
    joined: list[int] = []
    index = 0
    while index < len(ids):
        if tuple(ids[index : index + 2]) == pair:
            joined.append(token)
            index += 2
        else:
            joined.append(ids[index])
            index += 1
    return joined


@lru_cache
def load(name: str) -> BytePairs:
    """The built-in tokenizer of this name: `code`, or `prose`, which cuts text differently."""
    tables = json.loads(resources.files(__package__).joinpath("merges.json").read_text())
    return BytePairs([(left, right) for left, right in tables[name]])
