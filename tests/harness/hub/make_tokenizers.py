"""Makes data/tokenizer-*.json: vLLM-sim's tables of merges in the format of the `tokenizers` library.

The ids are those of vLLM-sim's own tokenizer, so that it counts the same with either. `qwen2` has the table
of `code`, and the rules to which transformers 5 holds the tokenizer of a Qwen2 whatever its file says.

python -m harness.hub.make_tokenizers
"""

import json
from pathlib import Path

from harness.vllm_sim.bytepairs import SPECIALS, WORDS

MERGES = Path(__file__).parents[1] / "vllm_sim" / "merges.json"
DATA = Path(__file__).parent / "data"
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Source: PRETOKENIZE_REGEX of transformers 5.19.0, models/qwen2/tokenization_qwen2.py"""
SHOWN_AS_THEMSELVES = [*range(33, 127), *range(161, 173), *range(174, 256)]


def alphabet() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary, as GPT-2 chose them."""
    hidden = [byte for byte in range(256) if byte not in SHOWN_AS_THEMSELVES]
    shown = {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    return [shown.get(byte, chr(byte)) for byte in range(256)]


def tokenizer(
    merges: list[tuple[int, int]], pattern: str = WORDS.pattern, normalizer: object = None
) -> dict[str, object]:
    """The content of a tokenizer.json with these merges, best first, as pairs of ids."""
    words = [*SPECIALS, *alphabet()]
    pairs = []
    for left, right in merges:
        pairs.append([words[left], words[right]])
        words.append(words[left] + words[right])
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(index, text) for index, text in enumerate(SPECIALS)],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": pairs,
        },
    }


def special(index: int, text: str) -> dict[str, object]:
    """One token that is recognised wherever it is written."""
    marks = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": text, **marks}


def main() -> None:
    """Write all files."""
    tables = json.loads(MERGES.read_text())
    made = {name: tokenizer(merges) for name, merges in tables.items()}
    made["qwen2"] = tokenizer(tables["code"], QWEN2_WORDS, {"type": "NFC"})
    for name, content in made.items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (DATA / f"tokenizer-{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
