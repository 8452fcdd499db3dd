"""Every name that other people's manifests, dashboards and tests depend on.

Labels, annotations, condition types, reasons, and the functions that name child objects. A literal of these
anywhere else is a defect: two spellings of one label lose a pod.
"""

from enum import StrEnum
from typing import Final

GROUP: Final = "pilothouse.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
FIELD_MANAGER: Final = "pilothouse"
PEOPLE_FIELD_MANAGER: Final = "kubectl-pilothouse"
"""Who wrote an annotation by the command line, so that nobody takes it for the operator."""
LEASE: Final = "pilothouse"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "pilothouse"
DEPLOYMENT: Final = f"{GROUP}/deployment"
REVISION: Final = f"{GROUP}/revision"
QUEUE_CLASS: Final = f"{GROUP}/queue-class"
LICENSE_ID: Final = f"{GROUP}/license-id"

KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's label of a Deployment whose pods it admits: the LocalQueue."""

APPLIED: Final = f"{GROUP}/applied"
"""Annotation of a child: the digest of what was last applied, so that an unchanged child costs no request."""

REJECTED: Final = f"{GROUP}/rejected"
"""Annotation of the stable revision's ControllerRevision: what is rejected, should the status be lost."""

COMMAND: Final = f"{GROUP}/command"
"""Annotation of a ModelDeployment: what a person wants of a rollout, `verb/revision` or `verb/revision/note`.

It names the revision that it speaks of, so that a stale one does nothing; another note makes it a new one.
"""

CALLERS: Final = f"{GROUP}/callers"
"""Annotation of a Gateway: Pilothouse may set up there how callers prove who they are, and this is how."""

FORWARD_AUTH: Final = f"{GROUP}/forward-auth"
"""Annotation of a Gateway with `callers: ForwardAuth`: the URL that says who a caller is."""

RATE_LIMITS: Final = f"{GROUP}/rate-limits"
"""Annotation of a Gateway: `Global` where all its proxies count together."""

ENGINE_CONTAINER: Final = "engine"
ENGINE_PORT: Final = 8000
ENGINE_PORT_NAME: Final = "http"
HF_TOKEN_KEY: Final = "HF_TOKEN"  # noqa: S105 -- the key inside the user's Secret, not a secret

FETCH_CONTAINER: Final = "fetch"
"""The init container that brings the pinned artifacts and checks them before a GPU loads anything."""

PROMPT_KEY_SECRET: Final = "pilothouse-prompt-key"  # noqa: S105 -- the name of a Secret
"""A Secret in a model's namespace whose key `key` keys the hash of prompts in the log; it may be missing."""


class Header(StrEnum):
    """The headers that the guard puts on every answer, and those that it reads."""

    REVISION = "x-pilothouse-revision"
    MODEL_REVISION = "x-model-revision"
    TOKENIZER_REVISION = "x-tokenizer-revision"
    LICENSE_ID = "x-license-id"
    REQUEST_ID = "x-request-id"
    TENANT = "x-pilothouse-tenant"
    """Set by the gateway after authentication; what a client sends under this name is removed."""
    USER = "x-pilothouse-user"
    """Set by the gateway after authentication; what a client sends under this name is removed."""
    CLIENT = "x-pilothouse-client"
    """`tenant.user` in place of the two, from a gateway that can only hand on the name of an API key."""
    PACKING_TRACE = "x-packing-trace"
    """What a client put into its prompt: names of segments and their token counts."""


OPERATOR_TENANT: Final = "pilothouse:operator"
"""The tenant as which the operator tests a pod; no TenantQuota can have this name."""


class GuardPath(StrEnum):
    """What the guard answers by itself, for the cluster; no route opens these."""

    ABOUT = "/pilothouse/about"
    """What the pod really serves: the guard's and the settings' digests, the pins, the manifest."""
    PROBES = "/pilothouse/probes"
    """The token ids of the probe texts."""
    FETCH = "/pilothouse/fetch"
    """How far the fetch has come; answered by the init container."""


class ConditionType(StrEnum):
    """The condition types of a ModelDeployment, in the order in which they are shown."""

    ACCEPTED = "Accepted"
    LICENSE_ACCEPTED = "LicenseAccepted"
    QUOTA_RESERVED = "QuotaReserved"
    WORKLOAD_READY = "WorkloadReady"
    ROUTE_PROGRAMMED = "RouteProgrammed"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    LICENSE_EXPIRING = "LicenseExpiring"
    """Shown only while the approval of what is served ends within two weeks."""


class Phase(StrEnum):
    """One word for the state of a ModelDeployment; the conditions say why."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    ROLLING_OUT = "RollingOut"
    PAUSED = "Paused"
    ROLLING_BACK = "RollingBack"
    DEGRADED = "Degraded"


class Verb(StrEnum):
    """What a person can say of a rollout."""

    PROMOTE = "promote"
    """Go on past the pause or the undecided checks of the current step."""
    ABORT = "abort"
    """Put the traffic back, and reject the revision."""
    PAUSE = "pause"
    """Stay at the current weight."""
    RESUME = "resume"
    """Go on after `pause`."""
    RETRY = "retry"
    """Try a rejected or held revision again."""


class RolloutState(StrEnum):
    """Where a rollout stands."""

    WAITING = "Waiting"
    """For its turn, or for somebody's word after the checkpoint failed elsewhere."""
    STARTING = "Starting"
    """The canary's pods are on their way."""
    PREFLIGHT = "Preflight"
    """The canary's own pods are tested before any user's request."""
    EVALUATING = "Evaluating"
    """The EvaluationSuite scores the canary."""
    SHIFTING = "Shifting"
    """Capacity and weight are on their way to those of the step."""
    HOLDING = "Holding"
    """The step's weight is reached; its time passes and its checks are judged."""
    PAUSED = "Paused"
    """A person, the policy or undecided checks stopped it; detectors go on."""
    BAKING = "Baking"
    """The canary has all traffic, the old pods are still there."""
    DRAINING = "Draining"
    """The pods that gave way finish what they generate."""


class Verdict(StrEnum):
    """What a check says."""

    PASS = "Pass"  # noqa: S105 -- no password
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    """Not enough evidence, or none that can be compared."""
    ERROR = "Error"
    """No measurement."""
    DEFERRED = "Deferred"
    """Not comparable at this step's replica counts; judged at a later step, before promotion."""


class Reason(StrEnum):
    """Why a condition is as it is. The same word stands in condition, Event, log line and metric."""

    # All is well.
    ACCEPTED = "Accepted"
    """The spec can be carried out."""
    NO_POLICY = "NoPolicy"
    """No LicensePolicy exists, so every license is accepted."""
    LICENSE_ALLOWED = "LicenseAllowed"
    """Every LicensePolicy allows the license."""
    LICENSE_APPROVED = "LicenseApproved"
    """A LicenseApproval names this license, checkpoint and revision."""
    NOT_LIMITED = "NotLimited"
    """No TenantQuota limits the GPUs of this namespace."""
    QUOTA_RESERVED = "QuotaReserved"
    """The TenantQuota has the GPUs, and they are reserved."""
    KUEUE_ADMITS = "KueueAdmits"
    """The TenantQuota names a LocalQueue, so Kueue admits the pods and Pilothouse does not."""
    READY = "Ready"
    """The current generation serves."""
    PROGRAMMED = "Programmed"
    """The gateway accepted the route."""
    RECONCILED = "Reconciled"
    """Nothing is left to do."""
    SCALED_TO_ZERO = "ScaledToZero"
    """`replicas` is 0: nothing runs, as declared."""

    # Something is under way.
    STARTING = "Starting"
    """Engine pods are being created or are loading the model."""
    SCALING = "Scaling"
    """Some engine pods are ready, others are on their way."""
    ROLLING_OUT = "RollingOut"
    """A new revision is starting while the stable one serves."""
    ROUTE_PENDING = "RoutePending"
    """The gateway has not answered for the current route yet, or not heard of the ready pods."""

    # The spec asks for something that is not there or not allowed.
    LICENSE_DENIED = "LicenseDenied"
    """A LicensePolicy denies the license."""
    LICENSE_APPROVAL_REQUIRED = "LicenseApprovalRequired"
    """A LicensePolicy asks for a LicenseApproval of this checkpoint and revision, and there is none."""
    LICENSE_APPROVAL_EXPIRED = "LicenseApprovalExpired"
    """The LicenseApproval of this checkpoint and revision has expired."""
    LICENSE_POLICY_MISSING = "LicensePolicyMissing"
    """Nothing allows the license: no LicensePolicy exists and the operator demands one, or the LicensePolicy
    that refused it is gone."""
    LICENSE_APPROVAL_EXPIRING = "LicenseApprovalExpiring"
    """The LicenseApproval of what is served ends within two weeks."""
    QUEUE_CLASS_NOT_FOUND = "QueueClassNotFound"
    """`spec.queueClassName` names no QueueClass."""
    QUEUE_CLASS_UNREADABLE = "QueueClassUnreadable"
    """The QueueClass was stored by an older schema and can't be read, so nothing rolls out."""
    POLICY_NOT_FOUND = "PolicyNotFound"
    """`spec.rollout.policyName` names no RolloutPolicy."""
    POLICY_UNREADABLE = "PolicyUnreadable"
    """The RolloutPolicy was stored by an older schema and can't be read, so nothing rolls out."""
    ARGUMENT_NOT_ALLOWED = "ArgumentNotAllowed"
    """`spec.engine.extraArgs` has a flag that the operator owns."""
    ARGUMENT_NOT_SUPPORTED = "ArgumentNotSupported"
    """The declared engine version lacks a flag that the spec needs."""
    ENGINE_VERSION_UNKNOWN = "EngineVersionUnknown"
    """The engine's version is neither in the image tag nor in `spec.engine.version`."""
    INVALID_SPEC = "InvalidSpec"
    """The object was stored by an older schema and does not hold to this one."""

    # The route.
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    """The cluster has no Gateway API, so there is no route."""
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    """A `parentRef` names no Gateway."""
    GATEWAY_NOT_PROGRAMMED = "GatewayNotProgrammed"
    """A `parentRef` names a Gateway that has no data plane yet."""
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    """The gateway refused the route; the message is its own."""

    # The fetch of the pinned artifacts.
    FETCHING = "Fetching"
    """A pod downloads or verifies the pinned artifacts."""
    REVISION_NOT_FOUND = "RevisionNotFound"
    """The hub has no such repository, or not this revision of it."""
    HUB_ACCESS_DENIED = "HubAccessDenied"
    """The hub refuses the token, or asks for one (401, 403)."""
    HUB_RATE_LIMITED = "HubRateLimited"
    """The hub asks to come back later (429)."""
    HUB_UNAVAILABLE = "HubUnavailable"
    """The hub can't be reached, or fails (5xx)."""
    CACHE_FULL = "CacheFull"
    """The volume of the cache has no room for the artifacts."""
    ARTIFACT_MISMATCH = "ArtifactMismatch"
    """A file is not the one that the pinned revision has."""
    LICENSE_MISMATCH = "LicenseMismatch"
    """The artifact names another license, or ships another license text, than was declared."""
    FETCH_FAILED = "FetchFailed"
    """The fetch ended for another reason; the message is its own."""

    # The engine pods.
    INSUFFICIENT_GPU = "InsufficientGPU"
    """No node has the GPUs that a pod asks for."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits a pod, for another reason than GPUs."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """More GPUs are asked for than the TenantQuota allows, or a ResourceQuota refuses the pod."""
    WAITING_FOR_QUOTA = "WaitingForQuota"
    """The GPUs that the TenantQuota allows are taken, or others wait before this one."""
    QUOTA_CONFLICT = "QuotaConflict"
    """Two TenantQuotas name the namespace, so nothing new is admitted in it."""
    QUOTA_MISSING = "QuotaMissing"
    """No TenantQuota names the namespace and the operator demands one, so nothing new is admitted in it."""
    QUOTA_UNREADABLE = "QuotaUnreadable"
    """The TenantQuota was stored by an older schema and can't be read, so nothing new is admitted."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The engine image can't be pulled."""
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    """The engine's container can't be made: a Secret, key, volume or `vllm` itself is not there."""
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    """The engine ended before it was ever ready."""
    ENGINE_CRASHED = "EngineCrashed"
    """The engine ended after it had served."""
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    """Pods were not ready, and named by their Service, within the startup budget."""
    ENGINE_NOT_READY = "EngineNotReady"
    """Pods that were ready fail their readiness probe."""

    # The rollout.
    ROLLOUT_QUEUED = "RolloutQueued"
    """As many ModelDeployments of the policy roll out as `maxConcurrentRollouts` allows; this one waits."""
    SIBLING_FAILED = "SiblingFailed"
    """The same checkpoint revision was rolled back in another ModelDeployment; `retry` tries it here."""
    ROLLOUT_PAUSED = "RolloutPaused"
    """`spec.rollout.paused` or the command `pause` stopped the rollout."""
    AWAITING_PROMOTION = "AwaitingPromotion"
    """The step waits for the command `promote`."""
    EVALUATION_NOT_SUPPORTED = "EvaluationNotSupported"
    """The step is an evaluation, which this release does not run; it waits for `promote`."""
    PREFLIGHT_RUNNING = "PreflightRunning"
    """The canary's pods are being tested before any user's request."""
    SHIFTING = "Shifting"
    """The canary gets the capacity and the weight of the next step."""
    HOLDING = "Holding"
    """The step's weight is held for its time."""
    BAKING = "Baking"
    """The new revision has all traffic; the old pods stay for the bake time."""
    CHECK_INCONCLUSIVE = "CheckInconclusive"
    """A check has too little evidence, or none that can be compared, so the weight does not rise."""
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    """Measurements can't be had, so the weight does not rise; that is no evidence against the model."""
    PROMOTED = "Promoted"
    """The new revision has become stable."""
    WITHDRAWN = "Withdrawn"
    """The spec asks for another revision, so this one gave its traffic back; it is not rejected."""
    CHECK_FAILED = "CheckFailed"
    """A check found the canary worse than stable by more than its margin."""
    PREFLIGHT_FAILED = "PreflightFailed"
    """The canary failed a test before any user's request."""
    TOKENIZER_CHANGED = "TokenizerChanged"
    """The canary's tokens of the probe texts are not those that were pinned, or not stable's."""
    ERROR_STORM = "ErrorStorm"
    """The canary answered with errors at a rate that stable does not have."""
    ABORTED = "Aborted"
    """A person said abort."""
    REJECTED = "Rejected"
    """The revision failed before; it is not tried again until a person says `retry`."""

    # The operator itself.
    APPLY_REFUSED = "ApplyRefused"
    """The API server refused a child object; the message is its own."""


NAMING_HEADERS: Final = (Header.TENANT.value, Header.USER.value, Header.CLIENT.value)
"""What says who calls: a gateway's word, never a client's."""

CREDENTIAL_HEADERS: Final = ("Authorization", "x-api-key")
"""Where callers show who they are, to a gateway; an engine has no use for it."""

STEERING_HEADERS: Final = ("X-Vllm-Priority", "X-data-parallel-rank", "X-Session-ID")
"""What vLLM obeys and a client may not set."""


def child_name(deployment: str, revision: str) -> str:
    """Name the per-revision children (Deployment, Service, PodDisruptionBudget, ControllerRevision)."""
    return f"{deployment}-{revision}"
