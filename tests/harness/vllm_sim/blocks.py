"""The KV cache as vLLM counts it: equal blocks of tokens, shared by requests that begin alike.

A block that nobody holds stays cached until its place is needed, the longest unused one first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """`capacity` blocks, each free, held by one request, or held by several as a common prefix."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(capacity))
        self._holders = [0] * capacity
        self._block_of: dict[int, int] = {}
        self._key_of: dict[int, int] = {}

    @property
    def free(self) -> int:
        """How many blocks nobody holds."""
        return len(self._free)

    @property
    def usage(self) -> float:
        """Share of the blocks that is held, 0 to 1."""
        return 1 - self.free / self.capacity

    def cached(self, keys: Iterable[int]) -> list[int]:
        """The blocks of the longest run of known keys."""
        blocks: list[int] = []
        for key in keys:
            if key not in self._block_of:
                break
            blocks.append(self._block_of[key])
        return blocks

    def unheld(self, blocks: Iterable[int]) -> int:
        """How many of the blocks are free, so that holding them costs free blocks."""
        return sum(block in self._free for block in blocks)

    def hold(self, blocks: Iterable[int]) -> None:
        """Take part in blocks that are cached."""
        for block in blocks:
            self._free.pop(block, None)
            self._holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Hold `count` blocks anew and forget what they cached; the caller has seen that they are free."""
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._holders[block] = 1
            if (key := self._key_of.pop(block, None)) is not None:
                del self._block_of[key]
        return blocks

    def remember(self, block: int, key: int) -> None:
        """Note what a held and now full block contains; the first block with a key keeps it."""
        if key not in self._block_of and block not in self._key_of:
            self._block_of[key] = block
            self._key_of[block] = key

    def release(self, blocks: Sequence[int]) -> None:
        """Let go; a request's last block is reused before its first, which others may begin with."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block] == 0:
                self._free[block] = None
