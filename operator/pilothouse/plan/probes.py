"""The built-in probe texts, and what tells two tokenizers apart by them.

A tokenizer's fingerprint is `sha256:` and the hex digest of its token ids of PROBES, as compact JSON: one
list of ids per text, in the order of PROBES, special tokens added as the tokenizer itself does, e.g.
`[[101,7592],[101,3000,77]]`. To compute it without an engine:

    from hashlib import sha256
    import json
    from transformers import AutoTokenizer
    from pilothouse.plan.probes import PROBES
    tokenizer = AutoTokenizer.from_pretrained("owner/name", revision="<commit>")
    ids = [tokenizer(text)["input_ids"] for text in PROBES]
    print("sha256:" + sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest())

With an engine, POST each text to /tokenize as `{"prompt": text}` and take `tokens`.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

PROBES: Final = (
    "def add(first: int, second: int) -> int:\n    return first + second\n",
    "func (s *Server) Do(w http.ResponseWriter) error {\n\tif s == nil {\n\t\treturn errNil\n\t}\n}\n",
    "const sum = (xs) => xs.reduce((a, b) => a + b, 0);  // 1_000_000, 0xFF, 3.14e-10\r\n",
    "SELECT u.id, COUNT(*) FROM users AS u LEFT JOIN orders o ON o.user_id = u.id GROUP BY 1;",
    "  \n\n\t \t    deep    indentation        and  blanks   \n\n\n",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case __dunder__ x1y2z3",
    "if(a!==b&&c>>>2||!d??e){f?.[0]=>g::<T>();}",
    "Gr\u00fc\u00dfe, \u041f\u0440\u0438\u0432\u0435\u0442, \u4f60\u597d, \u4e16\u754c, \u3053\u3093",
    "\u0645\u0631\u062d\u0628\u0627, \u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f469\u200d\U0001f4bb e\u0301 \u00a0no-break\u200bzero-width \u00bd \ufb01 \u2211 \u2192",
    "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|> <fim_prefix>a<fim_suffix>b<fim_middle>",
    "<\uff5cfim\u2581begin\uff5c>a<\uff5cfim\u2581hole\uff5c>b<\uff5cfim\u2581end\uff5c>",
    "<|endoftext|> <|im_start|>user\nhi<|im_end|>",
)
"""Never changed: a fingerprint that is pinned would no longer be that of its tokenizer."""

_SHOWN: Final = 6

Tokens = Sequence[Sequence[int]]
"""Token ids, one list per probe text."""


def fingerprint(tokens: Tokens) -> str:
    """Digest of a tokenizer's token ids of PROBES, as the spec pins it: `sha256:` and 64 hex digits."""
    text = json.dumps([list(ids) for ids in tokens], separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def difference(canary: Tokens, stable: Tokens) -> str | None:
    """Say where the canary's tokens first differ from stable's, and the ids from there; None if nowhere."""
    for index, (ours, theirs) in enumerate(zip(canary, stable, strict=True)):
        if list(ours) != list(theirs):
            return _difference_of_text(index, ours, theirs)
    return None


def _difference_of_text(index: int, canary: Sequence[int], stable: Sequence[int]) -> str:
    position = _first_difference(canary, stable)
    return (
        f"probe text {index} differs from token {position} on: "
        f"canary {_shown(canary, position)}, stable {_shown(stable, position)} "
        f"({len(canary)} and {len(stable)} tokens)"
    )


def _first_difference(some: Sequence[int], others: Sequence[int]) -> int:
    pairs = enumerate(zip(some, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(some), len(others)))


def _shown(ids: Sequence[int], position: int) -> str:
    shown = ", ".join(str(token) for token in ids[position : position + _SHOWN])
    return f"[{shown}, ...]" if len(ids) > position + _SHOWN else f"[{shown}]"
