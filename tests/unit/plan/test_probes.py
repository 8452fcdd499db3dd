import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.plan.probes import PROBES, difference, fingerprint

TOKENS = st.lists(st.lists(st.integers(0, 200_000), max_size=5), min_size=3, max_size=3)


def test_the_probe_texts_never_change() -> None:
    digest = hashlib.sha256(json.dumps(PROBES).encode()).hexdigest()
    assert digest == "c49b7d0aeef91459514f0bc095d21b14e21a7c643c9c264116f956f2a1c635f8"


def test_the_fingerprint_is_the_documented_one() -> None:
    digest = hashlib.sha256(b"[[1,2],[3]]").hexdigest()
    assert fingerprint([[1, 2], [3]]) == f"sha256:{digest}"


def test_the_fingerprint_tells_where_a_text_ends() -> None:
    assert fingerprint([[1, 2], [3]]) != fingerprint([[1], [2, 3]])


@given(TOKENS, TOKENS)
def test_tokens_differ_exactly_where_their_fingerprints_do(
    some: list[list[int]], others: list[list[int]]
) -> None:
    assert (difference(some, others) is None) == (fingerprint(some) == fingerprint(others))


def test_a_difference_is_shown_by_text_position_and_ids() -> None:
    assert difference([[1], [7, 8, 9]], [[1], [7, 5]]) == (
        "probe text 1 differs from token 1 on: canary [8, 9], stable [5] (3 and 2 tokens)"
    )


def test_a_text_that_only_goes_on_differs_from_its_end_on() -> None:
    assert difference([[7, 8]], [[7]]) == (
        "probe text 0 differs from token 1 on: canary [8], stable [] (2 and 1 tokens)"
    )


def test_of_a_long_difference_only_the_beginning_is_shown() -> None:
    found = difference([list(range(100))], [list(range(1, 101))])
    assert found is not None
    assert "canary [0, 1, 2, 3, 4, 5, ...], stable [1, 2, 3, 4, 5, 6, ...]" in found
