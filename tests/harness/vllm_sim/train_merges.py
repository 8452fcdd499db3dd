"""Makes merges.json: two tables of byte pairs, learned from files of Python's own library.

python -m harness.vllm_sim.train_merges > merges.json
"""

import json
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from harness.vllm_sim.bytepairs import BYTES, FIRST_MERGE, WORDS, Pair, join

CORPORA = {
    "code": (
        1000,
        ("argparse.py", "dataclasses.py", "asyncio/base_events.py", "http/client.py", "json/decoder.py"),
    ),
    "prose": (500, ("pydoc_data/topics.py",)),
}


def train(texts: Iterable[str], count: int) -> list[Pair]:
    """The `count` pairs that join best, most frequent first; of equals the smaller ids."""
    frequencies = Counter(word for text in texts for word in WORDS.findall(text))
    words = [([BYTES + byte for byte in word.encode()], times) for word, times in frequencies.items()]
    merges: list[Pair] = []
    for token in range(FIRST_MERGE, FIRST_MERGE + count):
        pairs: Counter[Pair] = Counter()
        for ids, times in words:
            for pair in pairwise(ids):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        words = [(join(ids, best, token), times) for ids, times in words]
        merges.append(best)
    return merges


def main() -> None:
    """Train both tables and print them."""
    library = Path(sysconfig.get_path("stdlib"))
    tables = {
        name: train([(library / f).read_text() for f in files], n) for name, (n, files) in CORPORA.items()
    }
    json.dump(tables, sys.stdout, separators=(",", ":"))


if __name__ == "__main__":
    main()
