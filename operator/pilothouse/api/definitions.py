"""The seven kinds as a table: what their CRDs say besides the schema, names and printed columns above all."""

from dataclasses import dataclass
from typing import Final, Literal

from pilothouse.api.common import Resource
from pilothouse.api.evaluationsuite import EvaluationSuite
from pilothouse.api.licenseapproval import LicenseApproval
from pilothouse.api.licensepolicy import LicensePolicy
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import RolloutPolicy
from pilothouse.api.tenantquota import TenantQuota


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "number", "date"] = "string"
    wide: bool = False


AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class Definition:
    """One kind; `model` is its Python class, whose name is the kind's."""

    model: type[Resource]
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]
    scalable: bool = False

    @property
    def name(self) -> str:
        """Give the kind as manifests have it."""
        return self.model.__name__


MODEL_DEPLOYMENT: Final = Definition(
    ModelDeployment,
    plural="modeldeployments",
    short="md",
    namespaced=True,
    scalable=True,
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Phase", ".status.phase"),
        Column("Model", ".spec.model.name"),
        Column("Rev", ".status.stable.revision"),
        Column("Canary", ".status.canary.weight.desired", "integer"),
        Column("Class", ".spec.queueClassName"),
        Column("Replicas", ".status.replicas", "integer"),
        AGE,
        Column("Tokenizer", ".spec.model.tokenizer.revision", wide=True),
        Column("License", ".spec.model.license.id", wide=True),
        Column("URL", ".status.url", wide=True),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
    ),
)
QUEUE_CLASS: Final = Definition(
    QueueClass,
    plural="queueclasses",
    short="qc",
    namespaced=False,
    columns=(
        Column("Priority", ".spec.priority", "integer"),
        Column("Input", ".spec.requests.maxInputTokens", "integer"),
        Column("Output", ".spec.requests.maxOutputTokens", "integer"),
        Column("Timeout", ".spec.requests.timeout"),
        Column("OnFull", ".spec.concurrency.onFull"),
        AGE,
        Column("Streaming", ".spec.requests.streaming", wide=True),
        Column("Drain", ".spec.drain", wide=True),
    ),
)
ROLLOUT_POLICY: Final = Definition(
    RolloutPolicy,
    plural="rolloutpolicies",
    short="rp",
    namespaced=False,
    columns=(
        Column("Weights", ".spec.steps[*].weight"),
        Column("Source", ".spec.analysis.source"),
        Column("Bake", ".spec.bake"),
        Column("Max", ".spec.maxConcurrentRollouts", "integer"),
        AGE,
    ),
)
TENANT_QUOTA: Final = Definition(
    TenantQuota,
    plural="tenantquotas",
    short="tq",
    namespaced=False,
    columns=(
        Column("Used", ".status.gpus.used", "integer"),
        Column("Reserved", ".status.gpus.reserved", "integer"),
        Column("Limit", ".spec.gpus.total", "integer"),
        AGE,
        Column("Namespaces", ".spec.namespaces", wide=True),
    ),
)
LICENSE_POLICY: Final = Definition(
    LicensePolicy,
    plural="licensepolicies",
    short="lp",
    namespaced=False,
    columns=(
        Column("Default", ".spec.default"),
        Column("OnViolation", ".spec.onViolation"),
        AGE,
    ),
)
LICENSE_APPROVAL: Final = Definition(
    LicenseApproval,
    plural="licenseapprovals",
    short="la",
    namespaced=False,
    columns=(
        Column("License", ".spec.licenseID"),
        Column("Checkpoint", ".spec.checkpoint"),
        Column("Ticket", ".spec.ticket"),
        Column("Expires", ".spec.expires"),
        AGE,
        Column("Revision", ".spec.revision", wide=True),
    ),
)
EVALUATION_SUITE: Final = Definition(
    EvaluationSuite,
    plural="evaluationsuites",
    short="es",
    namespaced=True,
    columns=(
        Column("Image", ".spec.image"),
        Column("Deadline", ".spec.deadline"),
        Column("MaxRegression", ".spec.maxRegression", "number"),
        AGE,
    ),
)

DEFINITIONS: Final = (
    MODEL_DEPLOYMENT,
    QUEUE_CLASS,
    ROLLOUT_POLICY,
    TENANT_QUOTA,
    LICENSE_POLICY,
    LICENSE_APPROVAL,
    EVALUATION_SUITE,
)
