"""A tokenizer.json with the built-in merges is the built-in tokenizer, token for token."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.hub
from harness.vllm_sim.bytepairs import END_OF_TEXT, SPECIALS, load
from harness.vllm_sim.tokenizer_file import TokenizerFile

DATA = Path(harness.hub.__file__).parent / "data"
CODE = TokenizerFile(DATA / "tokenizer-code.json", END_OF_TEXT)


@given(st.lists(st.one_of(st.text(), st.sampled_from(SPECIALS))))
def test_text_becomes_the_same_tokens_and_comes_back(parts: list[str]) -> None:
    text = "".join(parts)
    assert CODE.encode(text) == load("code").encode(text)
    assert CODE.decode(CODE.encode(text)) == text


@pytest.mark.parametrize("name", ["code", "prose"])
def test_every_token_is_written_with_the_same_bytes(name: str) -> None:
    ours, theirs = load(name), TokenizerFile(DATA / f"tokenizer-{name}.json", END_OF_TEXT)
    assert len(theirs) == len(ours)
    assert [theirs.to_bytes(token) for token in range(len(theirs))] == [
        ours.to_bytes(token) for token in range(len(ours))
    ]
    assert theirs.writable == ours.writable
