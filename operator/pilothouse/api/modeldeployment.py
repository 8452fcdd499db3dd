"""ModelDeployment: one pinned model, served. The only kind that application teams must write."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from pilothouse.api.common import (
    LocalReference,
    Resource,
    SecretKeyReference,
    Spec,
)
from pilothouse.api.modeldeploymentstatus import ModelDeploymentStatus
from pilothouse.api.rules import LIST_SET, Rule, list_map, ruled
from pilothouse.api.values import (
    Digest,
    DnsLabel,
    DnsName,
    Hostname,
    Image,
    LicenseID,
    OptionalDnsName,
    QualifiedName,
    Quantity,
    Revision,
    Source,
    Text,
    pinned,
)

OWNED_VARIABLES: Final = (
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HOME",
    "PYTHONPATH",
    "TORCHINDUCTOR_CACHE_DIR",
    "USER",
    "VLLM_API_KEY",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
    "VLLM_NO_USAGE_STATS",
    "VLLM_SERVER_DEV_MODE",
)
"""Environment variables of the engine that only Pilothouse may set, besides all that begin with PILOTHOUSE_.

Some it sets; the others would lock the engine, write answers into its log or open paths that pause it.
"""


class DType(StrEnum):
    """The number format of the weights."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Guard(StrEnum):
    """Whether Pilothouse's middleware runs inside the engine."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class Capacity(StrEnum):
    """Where the GPUs of a canary come from."""

    AUTO = "Auto"
    SURGE = "Surge"
    IN_PLACE = "InPlace"


class Checkpoint(Spec):
    """The weights, pinned."""

    model_config = ruled(
        Rule(
            pinned(source="self.source", revision="self.revision"),
            "checkpoint.revision must be a commit (40 hex digits) for hf://, a sha256: digest for pvc:// and oci://",
            field=".revision",
        ),
        Rule(
            "!has(self.secretRef) || self.source.startsWith('hf://')",
            "checkpoint.secretRef is for hf:// sources only",
            field=".secretRef",
        ),
    )

    source: Source
    """Where the weights are: `hf://owner/name`, `pvc://claim/path` or `oci://registry/image` (no tag, no
    digest)."""
    revision: Revision
    """What pins them: for hf the commit (40 hex digits), for pvc and oci a digest (`sha256:` and 64 hex
    digits)."""
    secret_ref: LocalReference | None = None
    """A Secret in this namespace whose key HF_TOKEN opens a gated Hugging Face repository."""


class Tokenizer(Spec):
    """The tokenizer, pinned apart from the weights: its commits change answers too."""

    source: Source | None = None
    """Where the tokenizer is, written as the checkpoint's source. Defaults to the checkpoint's source."""
    revision: Revision
    """What pins it, in the form that its source asks for. Never defaults: a tokenizer is never taken
    unpinned."""
    fingerprint: Digest | None = None
    """The digest of the token ids of the built-in probe texts; a tokenizer that yields others is refused."""


class License(Spec):
    """The license under which the model is served."""

    id: LicenseID
    """The SPDX id (`Apache-2.0`) or a `LicenseRef-...` where there is none; LicensePolicies decide by it."""
    text_digest: Digest | None = None
    """The sha256 digest of the license file that ships with the checkpoint; another text is refused."""


class Model(Spec):
    """Which model is served, pinned to the last byte."""

    model_config = ruled(
        Rule(
            pinned(
                source="(has(self.tokenizer.source) ? self.tokenizer.source : self.checkpoint.source)",
                revision="self.tokenizer.revision",
            ),
            "tokenizer.revision must be a commit (40 hex digits) for hf://, a sha256: digest for pvc:// and oci://",
            field=".tokenizer.revision",
        ),
    )

    name: (
        Annotated[
            str,
            Text(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
                says="must be a model name of letters, digits and . _ : / @ - without spaces",
                max_length=128,
            ),
        ]
        | None
    ) = None
    """What clients put in the "model" field of a request. Defaults to metadata.name. Example:
    qwen2.5-coder-7b."""
    checkpoint: Checkpoint
    """The weights, pinned."""
    tokenizer: Tokenizer
    """The tokenizer, pinned; its revision is required even where it lies beside the weights."""
    license: License
    """The license under which the model is served."""


class EnvValueSource(Spec):
    """Where the value of an environment variable is read from."""

    secret_key_ref: SecretKeyReference
    """A key of a Secret in this namespace."""


class EnvVar(Spec):
    """An environment variable of the engine: a value, or a Secret's key."""

    model_config = ruled(
        Rule(
            "has(self.value) != has(self.valueFrom)",
            "exactly one of value and valueFrom must be set",
            field=".value",
        ),
    )

    name: Annotated[
        str,
        Text(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            says="must be a variable's name: letters, digits and underscores",
            max_length=253,
        ),
        Rule(
            f"!(self in {list(OWNED_VARIABLES)}) && !self.startsWith('PILOTHOUSE_')",
            "must be none that Pilothouse sets; a Hugging Face token goes to spec.model.checkpoint.secretRef",
        ),
    ]
    """The variable's name. Example: VLLM_LOGGING_LEVEL."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """The value as text. Not for secrets: everyone who reads this object sees it."""
    value_from: EnvValueSource | None = None
    """Where the value is read from, in place of `value`."""


class Engine(Spec):
    """The vLLM that serves the model."""

    image: Image
    """The engine's image. Its tag tells the vLLM version: `vllm/vllm-openai:v0.32.0`."""
    version: (
        Annotated[
            str,
            Text(
                pattern=r"^[0-9]+[.][0-9]+[.][0-9]+$",
                says="must be a vLLM version such as 0.32.0",
                max_length=32,
            ),
        ]
        | None
    ) = None
    """The vLLM version inside the image, where the tag does not tell it. Example: 0.32.0."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """How many GPUs of a pod share the model's layers; at most `resources.gpu.count`."""
    dtype: DType = DType.AUTO
    """The number format of the weights; auto takes the checkpoint's own."""
    trust_remote_code: bool = False
    """Run the Python code that ships with the checkpoint, at the checkpoint's revision. Off unless you read
    that code."""
    extra_args: Annotated[
        tuple[
            Annotated[
                str,
                Text(
                    pattern=r"^--[a-z0-9][a-z0-9._-]*(=[^\x00-\x1f]*)?$",
                    says="must be one flag with its value, --flag or --flag=value",
                    max_length=2048,
                ),
            ],
            ...,
        ],
        Field(max_length=64),
    ] = ()
    """More vLLM flags, each item one flag with its value: `--max-num-batched-tokens=8192`. Flags that
    Pilothouse sets are refused."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """More environment variables of the engine. HF_TOKEN comes from `model.checkpoint.secretRef` instead."""
    guard: Guard = Guard.ENABLED
    """Whether Pilothouse's middleware holds the lane's limits inside the engine: Enabled or Disabled."""


class Gpu(Spec):
    """The accelerators of one engine pod."""

    resource_name: QualifiedName = "nvidia.com/gpu"
    """The extended resource that the device plug-in offers. Example: nvidia.com/gpu, amd.com/gpu."""
    count: Annotated[int, Field(ge=0, le=64)] = 1
    """How many of them a pod gets; 0 for an engine that runs on the CPU."""


class Resources(Spec):
    """What one engine pod gets; requests and limits alike."""

    gpu: Gpu = Gpu()
    """The accelerators of one pod."""
    cpu: Quantity = "4"
    """CPU cores of one pod. Example: 4, 500m."""
    memory: Quantity = "32Gi"
    """Memory of one pod, shared memory included; while loading, vLLM needs about the size of one weight file.
    Example: 32Gi."""


class Storage(Spec):
    """Where downloaded artifacts are kept."""

    cache_claim_name: DnsName | None = None
    """A PersistentVolumeClaim in this namespace, shared by all pods as their cache. Without it each pod
    downloads into its own emptyDir."""


class Toleration(Spec):
    """A taint that engine pods may be placed beside; as in a PodSpec."""

    model_config = ruled(
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "key may be left out with operator Exists only",
            field=".key",
        ),
        Rule("!has(self.value) || self.operator == 'Equal'", "value goes with operator Equal only", ".value"),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds goes with effect NoExecute only",
            field=".tolerationSeconds",
        ),
    )

    key: Annotated[str, Field(max_length=316)] | None = None
    """The taint's key; empty with operator Exists matches every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How `value` is compared: Equal, or Exists for any value."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """The taint's value, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; empty matches all."""
    toleration_seconds: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """For effect NoExecute: for how many seconds a pod stays; empty means for ever."""


class Placement(Spec):
    """Where engine pods may run, and with what rank."""

    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        Field(max_length=32),
        Rule(
            "self.all(k, k.size() <= 317 && k.matches(r'^[A-Za-z0-9./_-]+$'))",
            "must have label names as keys",
        ),
    ] = Field(default_factory=dict)
    """Labels that a node must have. Example: nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that the pods tolerate."""
    priority_class_name: OptionalDnsName = ""
    """The PriorityClass of the pods; empty for the cluster's default."""
    image_pull_secrets: Annotated[
        tuple[LocalReference, ...], Field(max_length=16, json_schema_extra=list_map("name"))
    ] = ()
    """Secrets in this namespace that open the engine image's registry."""


class ParentRef(Spec):
    """A Gateway that carries the route."""

    name: DnsName
    """The Gateway's name."""
    namespace: DnsLabel | None = None
    """The Gateway's namespace. Defaults to the ModelDeployment's own."""


class Route(Spec):
    """How callers outside reach the model: one HTTPRoute for the generation paths only."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=8)]
    """The Gateways that carry the route."""
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16, json_schema_extra=LIST_SET)] = ()
    """The host names that the route answers; empty for all of the Gateway's. Example: models.example.com."""
    path_prefix: Annotated[
        str,
        Text(
            pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$",
            says="must begin with / and have neither a trailing slash nor //, .., % or spaces",
            max_length=256,
        ),
        Rule("!self.endsWith('/v1')", "must not end with /v1: the API below it is /v1 already"),
    ]
    """The path before /v1, removed before the engine sees it. Example: /team-ide/qwen-coder serves /team-
    ide/qwen-coder/v1/completions."""
    allow_tenants: Annotated[tuple[DnsLabel, ...], Field(max_length=64, json_schema_extra=LIST_SET)] = ()
    """The TenantQuotas whose callers may use this route, beside those of the namespace's own tenant. Once one
    is named, or the namespace's tenant has callers, nobody else is served."""


class Rollout(Spec):
    """How a new revision replaces the old one."""

    policy_name: DnsName | None = None
    """The RolloutPolicy to follow. Without it the built-in one is used."""
    capacity: Capacity = Capacity.AUTO
    """Where a canary's GPUs come from: Surge adds pods, InPlace takes stable's, Auto picks by need."""
    paused: bool = False
    """Hold the rollout where it is; a failing canary is still rolled back."""


class ModelDeploymentSpec(Spec):
    """The model to serve, and how."""

    model_config = ruled(
        Rule(
            "self.resources.gpu.count == 0 || self.engine.tensorParallelSize <= self.resources.gpu.count",
            "engine.tensorParallelSize must be at most resources.gpu.count",
            field=".engine.tensorParallelSize",
        ),
    )

    model: Model
    """Which model is served, pinned to the last byte."""
    queue_class_name: DnsLabel
    """The QueueClass (lane) whose limits and objectives this model serves under. Example: completion."""
    engine: Engine
    """The vLLM that serves the model."""
    resources: Resources = Resources()
    """What one engine pod gets; requests and limits alike."""
    storage: Storage = Storage()
    """Where downloaded artifacts are kept."""
    placement: Placement = Placement()
    """Where engine pods may run, and with what rank."""
    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    """How many engine pods serve; 0 stops them all. `kubectl scale`, HPA and KEDA write it."""
    route: Route | None = None
    """How callers outside reach the model. Without it only the Service serves, and a rollout switches at
    once."""
    rollout: Rollout = Rollout()
    """How a new revision replaces the old one."""


class ModelDeployment(Resource):
    """One pinned model, served on vLLM: checkpoint, tokenizer, license, queue class, route and rollout."""

    model_config = ruled(
        Rule(
            "self.metadata.name.size() <= 52 && self.metadata.name.matches(r'^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must be at most 52 lower-case letters, digits and hyphens, the first a letter: "
            "Services are named <name>-<10 hex digits>",
        ),
    )

    spec: ModelDeploymentSpec
    """The model to serve, and how."""
    status: ModelDeploymentStatus = ModelDeploymentStatus()
    """What Pilothouse observes; written by it alone."""
