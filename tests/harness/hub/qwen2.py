"""A model that a real engine can load: Qwen2 with two layers, its weights random from a seed."""

import hashlib
import json
import math
from collections.abc import Iterator

LAYERS, HEADS, WIDTH, INNER, VOCABULARY = 2, 2, 128, 256, 1536
"""vLLM on a CPU wants heads of 64."""
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": HEADS,
    "max_position_embeddings": 32768,
    "vocab_size": VOCABULARY,
}
SMALL = bytes(0x3C | byte & 0x80 for byte in range(256))
"""The upper bytes of numbers of either sign around 1/64 in bfloat16."""


def safetensors(seed: str) -> bytes:
    """Return the weights in the format of safetensors."""
    described, end = {}, 0
    for name, shape in tensors():
        begin, end = end, end + 2 * math.prod(shape)
        described[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps({"__metadata__": {"format": "pt"}, **described}, separators=(",", ":")).encode()
    data = bytearray(hashlib.shake_256(seed.encode()).digest(end))
    data[1::2] = data[1::2].translate(SMALL)
    return len(head).to_bytes(8, "little") + head + data


def tensors() -> Iterator[tuple[str, list[int]]]:
    """Yield the name and the shape of each tensor."""
    yield "model.embed_tokens.weight", [VOCABULARY, WIDTH]
    for layer in range(LAYERS):
        for name, shape in in_layer():
            yield f"model.layers.{layer}.{name}", shape
    yield "model.norm.weight", [WIDTH]
    yield "lm_head.weight", [VOCABULARY, WIDTH]


def in_layer() -> Iterator[tuple[str, list[int]]]:
    """Yield those of one layer."""
    for part in ("q_proj", "k_proj", "v_proj"):
        yield f"self_attn.{part}.weight", [WIDTH, WIDTH]
        yield f"self_attn.{part}.bias", [WIDTH]
    yield "self_attn.o_proj.weight", [WIDTH, WIDTH]
    yield "mlp.gate_proj.weight", [INNER, WIDTH]
    yield "mlp.up_proj.weight", [INNER, WIDTH]
    yield "mlp.down_proj.weight", [WIDTH, INNER]
    yield "input_layernorm.weight", [WIDTH]
    yield "post_attention_layernorm.weight", [WIDTH]
