"""Reads the needed series out of a /metrics page.

A page of vLLM has 650 lines and takes prometheus_client's parser 13 ms, which is too long to do each second
for each canary. So only the needed lines are read, and names with labels, which repeat, are parsed once.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from pilothouse.observe.series import NAMES, Sample

_NEEDED: Final = tuple(f"{name}{mark}" for name in NAMES for mark in "{ ")
_REMEMBERED: Final = 16_384


def read(text: str) -> list[Sample]:
    """Return the samples that are needed; raises ValueError where the text is no exposition."""
    return list(_samples(text))


def _samples(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        if not line.startswith(_NEEDED):
            continue
        end = line.rfind("}") + 1 or line.index(" ")
        name, labels = _parsed(line[:end])
        value, *_time = line[end:].split()
        yield Sample(name, labels, float(value))


@lru_cache(maxsize=_REMEMBERED)
def _parsed(series: str) -> tuple[str, Mapping[str, str]]:
    [family] = text_string_to_metric_families(f"{series} 0\n")
    [sample] = family.samples
    return sample.name, sample.labels
