"""How the text of an answer comes out of its tokens, and where it ends."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harness.vllm_sim.bytepairs import BYTES, END_OF_TEXT, load
from harness.vllm_sim.output import Output, Piece
from harness.vllm_sim.sampling import Sampler, Sampling

TOKENIZER = load("code")


def pieces(text: str, sampling: Sampling) -> list[Piece]:
    """Feed a text byte by byte."""
    output = Output(TOKENIZER, sampling, 0)
    found = []
    for byte in text.encode():
        found.append(output.add(BYTES + byte))
        if found[-1].finish_reason:
            break
    return found


def written(found: list[Piece]) -> str:
    return "".join(piece.text for piece in found)


def test_an_answer_ends_at_its_length() -> None:
    found = pieces("abcdef", Sampling(max_tokens=3))
    assert (written(found), found[-1].finish_reason) == ("abc", "length")


def test_a_character_comes_only_when_it_is_whole() -> None:
    assert [piece.text for piece in pieces("é🎉", Sampling(max_tokens=9))] == ["", "é", "", "", "", "🎉"]


def test_a_cut_character_is_replaced_at_the_end() -> None:
    assert written(pieces("🎉", Sampling(max_tokens=2))) == "\N{REPLACEMENT CHARACTER}"


def test_a_stop_string_is_cut_off_even_if_it_came_in_parts() -> None:
    found = pieces("one STOP two", Sampling(max_tokens=99, stop=("STOP",)))
    assert (written(found), found[-1].finish_reason, found[-1].stop_reason) == ("one ", "stop", "STOP")


def test_a_stop_string_is_kept_on_request() -> None:
    found = pieces("one STOP two", Sampling(max_tokens=99, stop=("STOP",), include_stop=True))
    assert written(found) == "one STOP"


@given(st.text(alphabet="abS"), st.sampled_from(["ab", "S", "aSb"]))
def test_what_is_streamed_is_the_text_up_to_the_first_stop(text: str, stop: str) -> None:
    found = pieces(text + stop, Sampling(max_tokens=999, stop=(stop,)))
    assert written(found) == (text + stop).partition(stop)[0]


def test_end_of_text_ends_the_answer_without_a_reason() -> None:
    piece = Output(TOKENIZER, Sampling(max_tokens=9), 0).add(END_OF_TEXT)
    assert (piece.text, piece.finish_reason, piece.stop_reason) == ("", "stop", None)


def test_a_stop_token_is_named() -> None:
    piece = Output(TOKENIZER, Sampling(max_tokens=9, stop_token_ids={BYTES + 65}), 0).add(BYTES + 65)
    assert (piece.finish_reason, piece.stop_reason) == ("stop", BYTES + 65)


def test_nothing_ends_an_answer_before_its_least_length() -> None:
    found = pieces("aSbS", Sampling(max_tokens=9, min_tokens=2, stop=("S",)))
    assert written(found) == "aSb"


ANY = Sampling(max_tokens=999)


def tokens(weights: str = "w", prompt: tuple[int, ...] = (1, 2), sampling: Sampling = ANY) -> list[int]:
    sampler = Sampler(TOKENIZER, weights, prompt, sampling)
    return [sampler.token(position) for position in range(500)]


def test_the_same_request_is_answered_the_same() -> None:
    assert tokens() == tokens()


def test_other_weights_prompts_seeds_and_choices_are_answered_otherwise() -> None:
    others = [
        tokens(weights="v"),
        tokens(prompt=(1, 3)),
        tokens(sampling=replace(ANY, seed=1)),
        tokens(sampling=replace(ANY, choice=1)),
    ]
    assert tokens() not in others


def test_an_answer_ends_by_itself_unless_it_may_not() -> None:
    assert END_OF_TEXT in tokens()
    assert END_OF_TEXT not in tokens(sampling=replace(ANY, ignore_eos=True))
    assert END_OF_TEXT not in tokens(sampling=replace(ANY, min_tokens=500))
