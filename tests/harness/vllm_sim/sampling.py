"""What stands in for a model: tokens that follow from the weights, the prompt and the seed alone.

The same request gives the same answer on every engine with the same weights, another revision gives another
answer, and now and then an answer ends by itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from harness.vllm_sim.tokenizer import Tokenizer

# An answer that nothing else ends has this many tokens on average.
MEAN_LENGTH = 128


@dataclass(frozen=True)
class Sampling:
    """When and how one answer ends; lengths in tokens. `choice` tells the `n` answers to a prompt apart."""

    max_tokens: int
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: Collection[int] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    seed: int = 0
    n: int = 1
    choice: int = 0


class Sampler:
    """The next token of one answer."""

    def __init__(self, tokenizer: Tokenizer, weights: str, prompt: Sequence[int], sampling: Sampling) -> None:
        identity = f"{weights}\0{sampling.seed}\0{sampling.choice}\0{list(prompt)}"
        self._key = blake2b(identity.encode(), digest_size=32).digest()
        self._vocabulary = tokenizer.writable
        self._end_of_text = tokenizer.end_of_text
        self._sampling = sampling

    def token(self, position: int) -> int:
        """The answer's token at this position, counted from 0."""
        lot = int.from_bytes(blake2b(position.to_bytes(8), key=self._key, digest_size=8).digest())
        may_end = position >= self._sampling.min_tokens and not self._sampling.ignore_eos
        if self._end_of_text is not None and may_end and lot % MEAN_LENGTH == 0:
            return self._end_of_text
        return self._vocabulary[lot // MEAN_LENGTH % len(self._vocabulary)]
