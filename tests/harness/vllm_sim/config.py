"""What the flags mean for the engine, with vLLM's defaults and its checks between flags."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import ge, gt, le
from pathlib import Path
from typing import Any

from harness.vllm_sim import VLLM_VERSION
from harness.vllm_sim.scheduler import Limits
from harness.vllm_sim.snapshots import located

DEFAULT_MODEL_LEN = 32_768
DEFAULT_SEQS = 256
DEFAULT_BATCHED_TOKENS = 2048
BLOCK_SIZE = 16
# As much as a GPU of 24 GB has left for a model of 7 billion parameters in 16 bit.
DEFAULT_BLOCKS = 8192
_WORDS = {ge: "greater than or equal to", gt: "greater than", le: "less than or equal to"}
_BOUNDS = (
    ("max_num_seqs", ge, 1),
    ("gpu_memory_utilization", gt, 0),
    ("gpu_memory_utilization", le, 1),
    ("shutdown_timeout", ge, 0),
)


class ConfigError(ValueError):
    """Flags that vLLM reads but then refuses; the process ends with exit code 1."""


@dataclass(frozen=True)
class EngineConfig:
    """The engine as configured; lengths in tokens.

    `model` and `tokenizer` are folders, or names of the hub where it might be asked, `root` is what the model
    was called; `chats` tells whether there is a chat template; `weights` says which checkpoint is served,
    `end_of_text` is the token that ends its answers, `buckets` replaces histogram buckets by family.
    """

    model: str
    root: str
    tokenizer: str
    chats: bool
    end_of_text: int | None
    served_names: tuple[str, ...]
    max_model_len: int
    limits: Limits
    max_num_queued_reqs: int | None
    max_num_queued_tokens: int | None
    max_output_tokens: int | None
    fingerprint: str | None
    weights: str
    shutdown_timeout: int
    buckets: Mapping[str, Sequence[float]]

    @property
    def name(self) -> str:
        """The name in answers and metrics."""
        return self.served_names[0]


def engine_config(args: argparse.Namespace) -> EngineConfig:
    """Resolve the flags; raises ConfigError."""
    _check_bounds(args)
    name = args.model_tag or args.model
    model = located(name, args.revision)
    tokenizer = located(args.tokenizer, args.tokenizer_revision) if args.tokenizer else model
    max_model_len = _max_model_len(args.max_model_len, model)
    weights = f"{name}@{args.revision or 'main'}"
    return EngineConfig(
        model=model,
        root=name,
        tokenizer=tokenizer,
        chats=bool(args.chat_template) or _has_chat_template(Path(tokenizer)),
        end_of_text=_end_of_text(model),
        served_names=tuple(args.served_model_name or (name,)),
        max_model_len=max_model_len,
        limits=_limits(args, max_model_len),
        max_num_queued_reqs=args.max_num_queued_reqs,
        max_num_queued_tokens=args.max_num_queued_tokens,
        max_output_tokens=args.override_generation_config.get("max_new_tokens"),
        fingerprint=_fingerprint(args, weights, max_model_len),
        weights=weights,
        shutdown_timeout=args.shutdown_timeout,
        buckets=args.custom_histogram_buckets or {},
    )


def _check_bounds(args: argparse.Namespace) -> None:
    for name, holds, bound in _BOUNDS:
        value = getattr(args, name)
        if value is not None and not holds(value, bound):
            raise ConfigError(f"{name}\n  Input should be {_WORDS[holds]} {bound} [input_value={value}]")


def _max_model_len(wanted: int | None, model: str) -> int:
    longest = _model_config(model).get("max_position_embeddings", DEFAULT_MODEL_LEN)
    if wanted is None or wanted == -1:
        return int(longest)
    if wanted > longest:
        raise ConfigError(
            f"User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
            f"(max_position_embeddings={longest} or model_max_length=None in model's config.json)."
        )
    return wanted


def _model_config(model: str) -> dict[str, Any]:
    """The config.json of a model in a folder; nothing is known of one that is to be downloaded."""
    if not model.startswith(("/", ".")):
        return {}
    file = Path(model, "config.json")
    if not file.is_file():
        raise ConfigError(f"Invalid repository ID or local directory specified: '{model}'.")
    config: dict[str, Any] = json.loads(file.read_text())
    return config


def _has_chat_template(tokenizer: Path) -> bool:
    """The built-in tokenizer, that of a model without one, has a template too."""
    if not (tokenizer / "tokenizer.json").is_file() or (tokenizer / "chat_template.jinja").is_file():
        return True
    config = tokenizer / "tokenizer_config.json"
    return config.is_file() and "chat_template" in json.loads(config.read_text())


def _end_of_text(model: str) -> int | None:
    """The first token that the model's folder names for it, if it names any."""
    for name in ("generation_config.json", "config.json"):
        file = Path(model, name)
        named = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
        if named is not None:
            return int(named[0] if isinstance(named, list) else named)
    return None


def _limits(args: argparse.Namespace, max_model_len: int) -> Limits:
    block_size = args.block_size or BLOCK_SIZE
    seqs = args.max_num_seqs or DEFAULT_SEQS
    tokens = args.max_num_batched_tokens or max(DEFAULT_BATCHED_TOKENS, seqs)
    blocks = args.num_gpu_blocks_override or max(DEFAULT_BLOCKS, -(-max_model_len // block_size))
    if tokens < seqs:
        raise ConfigError(
            f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs})."
        )
    if blocks * block_size < max_model_len:
        raise ConfigError(
            f"The model's max seq len ({max_model_len}) is larger than the maximum number of tokens "
            f"that can be stored in KV cache ({blocks * block_size})."
        )
    caching = args.enable_prefix_caching is not False
    return Limits(
        min(seqs, args.max_num_active_seqs or seqs), tokens, blocks, block_size, prefix_caching=caching
    )


def _fingerprint(args: argparse.Namespace, weights: str, max_model_len: int) -> str | None:
    """`system_fingerprint` of every answer, by --fingerprint-mode."""
    if args.fingerprint_mode == "none":
        return None
    if args.fingerprint_mode == "custom":
        return str(args.fingerprint_value)
    parts = [f"vllm-{VLLM_VERSION}"]
    if args.fingerprint_mode == "full":
        parts += [f"{short}{n}" for short, n in _parallelism(args).items() if n > 1]
    identity = json.dumps([weights, max_model_len, args.dtype, args.quantization, args.kv_cache_dtype])
    return "-".join([*parts, sha256(identity.encode()).hexdigest()[:8]])


def _parallelism(args: argparse.Namespace) -> dict[str, int]:
    return {
        "tp": args.tensor_parallel_size,
        "pp": args.pipeline_parallel_size,
        "dp": args.data_parallel_size,
    }
