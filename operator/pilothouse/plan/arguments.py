"""The command line of the engine: what the operator sets, and what `extraArgs` may add to it.

vLLM takes its arguments with argparse, so a flag can be written `--max-model-len=8`, `--max_model_len 8`, as
a unique prefix (`--max-model`) or, for JSON, dotted (`--override-generation-config.max_new_tokens 8`). A
refusal that knew one spelling only would be none.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from pilothouse.api.modeldeployment import Guard, ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.names import ENGINE_PORT
from pilothouse.plan.lifecycle import drain_seconds
from pilothouse.plan.podlayout import GUARD
from pilothouse.plan.sources import Artifact, checkpoint_of, tokenizer_of

OWNED: Final = frozenset(
    {
        "--api-key",
        "--api-server-count",
        "--code-revision",
        "--config",
        "--data-parallel-external-lb",
        "--data-parallel-hybrid-lb",
        "--data-parallel-multi-port-external-lb",
        "--data-parallel-rank",
        "--disable-access-log-for-endpoints",
        "--disable-log-stats",
        "--disable-uvicorn-access-log",
        "--dtype",
        "--enable-log-outputs",
        "--enable-log-requests",
        "--enable-request-id-headers",
        "--grpc",
        "--grpc-port",
        "--headless",
        "--hf-token",
        "--host",
        "--max-model-len",
        "--max-num-queued-reqs",
        "--max-num-seqs",
        "--middleware",
        "--model",
        "--override-generation-config",
        "--port",
        "--revision",
        "--root-path",
        "--served-model-name",
        "--shutdown-timeout",
        "--ssl-ca-certs",
        "--ssl-cert-reqs",
        "--ssl-certfile",
        "--ssl-ciphers",
        "--ssl-keyfile",
        "--tensor-parallel-size",
        "--tokens-only",
        "--tokenizer",
        "--tokenizer-revision",
        "--trust-remote-code",
        "--uds",
    },
)
"""Flags that the spec, the queue class or the pod decides, that would write prompts or keys into the log, or
that would give each of several guards the limits of all."""


def engine_arguments(deployment: ModelDeployment, queue_class: QueueClass) -> list[str]:
    """Everything after `vllm serve`; the model comes first and the user's own arguments last."""
    return [*own_arguments(deployment, queue_class), *deployment.spec.engine.extra_args]


def own_arguments(deployment: ModelDeployment, queue_class: QueueClass) -> list[str]:
    """Those that the operator sets; the model comes first."""
    return [*_model(deployment), *_serving(deployment), *_lane(queue_class)]


def owned_flags(extra: Sequence[str]) -> list[str]:
    """Those of the user's flags that the operator owns, as the user wrote them."""
    return [word for word in extra if _is_owned(flag_of(word))]


def flag_of(word: str) -> str:
    """Canonical flag of one argument: `--max_model_len=8` is `--max-model-len`."""
    return word.partition("=")[0].partition(".")[0].replace("_", "-")


def _is_owned(flag: str) -> bool:
    positive = flag.replace("--no-", "--", 1) if flag.startswith("--no-") else flag
    return any(owned.startswith(positive) for owned in OWNED)


def _model(deployment: ModelDeployment) -> Iterator[str]:
    checkpoint, tokenizer = checkpoint_of(deployment), tokenizer_of(deployment)
    yield checkpoint.location
    if checkpoint.is_hub:
        yield f"--revision={checkpoint.revision}"
    yield f"--tokenizer={tokenizer.location}"
    if tokenizer.is_hub:
        yield f"--tokenizer-revision={tokenizer.revision}"
    if deployment.spec.engine.trust_remote_code:
        yield from _remote_code(checkpoint)


def _remote_code(checkpoint: Artifact) -> Iterator[str]:
    yield "--trust-remote-code"
    if checkpoint.is_hub:
        yield f"--code-revision={checkpoint.revision}"


def _serving(deployment: ModelDeployment) -> Iterator[str]:
    engine = deployment.spec.engine
    yield f"--served-model-name={deployment.spec.model.name or deployment.metadata.name}"
    yield f"--port={ENGINE_PORT}"
    yield f"--dtype={engine.dtype}"
    yield f"--tensor-parallel-size={engine.tensor_parallel_size}"
    yield "--enable-request-id-headers"
    # It would repeat the query of every URL, in which clients send keys.
    yield "--disable-uvicorn-access-log"
    if engine.guard is Guard.ENABLED:
        yield f"--middleware={GUARD}"


def _lane(queue_class: QueueClass) -> Iterator[str]:
    requests, concurrency = queue_class.spec.requests, queue_class.spec.concurrency
    yield f"--max-model-len={requests.max_input_tokens + requests.max_output_tokens}"
    yield f"--max-num-seqs={concurrency.per_replica}"
    yield f"--max-num-queued-reqs={concurrency.per_replica + concurrency.queued_per_replica}"
    cap = json.dumps({"max_new_tokens": requests.max_output_tokens}, separators=(",", ":"))
    yield f"--override-generation-config={cap}"
    yield f"--shutdown-timeout={drain_seconds(queue_class)}"
