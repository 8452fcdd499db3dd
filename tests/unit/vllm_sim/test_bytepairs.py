"""Byte-pair encoding: lossless for any text, the same every time, and different with another table."""

from hypothesis import given
from hypothesis import strategies as st

from harness.vllm_sim.bytepairs import BYTES, END_OF_TEXT, SPECIALS, BytePairs, load
from harness.vllm_sim.train_merges import train

CODE = "def fib(n: int) -> int:\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    tokenizer = load("code")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.sampled_from([*SPECIALS, CODE, " ", "é漢🎉"])))
def test_special_tokens_in_a_text_come_back_too(parts: list[str]) -> None:
    tokenizer = load("code")
    assert tokenizer.decode(tokenizer.encode("".join(parts))) == "".join(parts)


def test_a_special_token_is_one_token() -> None:
    assert load("code").encode("<|endoftext|>") == [END_OF_TEXT]
    assert load("code").encode("a<|fim_prefix|>b")[1] == SPECIALS.index("<|fim_prefix|>")


def test_code_takes_fewer_tokens_than_bytes() -> None:
    assert len(load("code").encode(CODE)) < len(CODE) / 2


def test_the_two_tables_count_differently() -> None:
    assert load("code").encode(CODE) != load("prose").encode(CODE)
    assert len(load("code").encode(CODE)) < len(load("prose").encode(CODE))


def test_the_best_merge_is_applied_before_a_later_one() -> None:
    a, b, c = (BYTES + byte for byte in b"abc")
    bc_first = BytePairs([(b, c), (a, b)])
    assert bc_first.encode("abc") == [a, BYTES + 256]


def test_training_joins_the_most_frequent_pair_first() -> None:
    (first,) = train(["abab ab xy"], 1)
    assert first == (BYTES + ord("a"), BYTES + ord("b"))
