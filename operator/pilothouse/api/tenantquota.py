"""TenantQuota: what a tenant may use: GPUs of its namespaces, and requests and tokens of its callers."""

from typing import Annotated, Final

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec, Status
from pilothouse.api.rules import LIST_SET, Rule, list_map, ruled
from pilothouse.api.values import DnsLabel, DnsName, OptionalDnsName, Text, Url

Gpus = Annotated[int, Field(ge=0, le=100_000)]
Limit = Annotated[int, Field(ge=1, le=1_000_000_000_000, json_schema_extra={"format": "int64"})]
Claim = Annotated[
    str,
    Text(
        pattern=r"^[A-Za-z0-9_:/-]+([.][A-Za-z0-9_:/-]+)*$",
        says="must be a claim's name: letters, digits and _ : / -, with a dot before a name within it",
        max_length=128,
    ),
]

_LANES_ARE_NAMES: Final = Rule(
    "self.all(k, k.matches(r'^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'))",
    "must have names of QueueClasses as keys",
)


class GpuQuota(Spec):
    """How many GPUs the tenant's namespaces may hold together, canary surge counted."""

    model_config = ruled(
        Rule(
            "!has(self.perQueueClass) || self.perQueueClass.all(k, self.perQueueClass[k] <= self.total)",
            "perQueueClass must be at most total for each lane",
            field=".perQueueClass",
        ),
    )

    total: Gpus
    """The most GPUs that the pods of all namespaces together may ask for."""
    per_queue_class: Annotated[dict[str, Gpus], Field(max_length=32), _LANES_ARE_NAMES] = Field(
        default_factory=dict
    )
    """The most GPUs of one lane, by QueueClass name; each at most `total`. Example: {completion: 8}."""


class ApiKeys(Spec):
    """Callers who show an API key."""

    secret_names: Annotated[
        tuple[DnsName, ...], Field(min_length=1, max_length=16, json_schema_extra=LIST_SET)
    ]
    """Secrets in the Gateway's namespace: each key is `tenant.user`, its value that user's API key."""


class Jwt(Spec):
    """Callers who show a JSON Web Token."""

    issuer: Url
    """The `iss` that a token must have. Example: https://login.example.com."""
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(min_length=1, max_length=16, json_schema_extra=LIST_SET),
    ]
    """The `aud` values of which a token must have one."""
    jwks_uri: Annotated[
        Url, Field(alias="jwksURI"), Rule("self.startsWith('https://')", "must be an https URL")
    ]
    """Where the issuer's public keys are. Example: https://login.example.com/.well-known/jwks.json."""
    tenant_claim: Claim = "tenant"
    """The claim that names the tenant. Example: org.team, where `team` is a field of the claim `org`."""
    user_claim: Claim = "sub"
    """The claim that names the user."""


class Auth(Spec):
    """How callers prove who they are: exactly one of apiKeys and jwt."""

    model_config = ruled(
        Rule("has(self.apiKeys) != has(self.jwt)", "exactly one of apiKeys and jwt must be set"),
    )

    api_keys: ApiKeys | None = None
    """Callers show an API key from one of the tenant's Secrets."""
    jwt: Jwt | None = None
    """Callers show a JSON Web Token of an issuer."""


class Limits(Spec):
    """How much callers may ask for; what is left out is not limited."""

    requests_per_minute: Limit | None = None
    """The most requests in a minute."""
    input_tokens_per_minute: Limit | None = None
    """The most prompt tokens in a minute."""
    output_tokens_per_minute: Limit | None = None
    """The most generated tokens in a minute."""
    concurrent_requests: Limit | None = None
    """The most requests at the same time."""


class Callers(Spec):
    """Who may call through the gateway, and how much."""

    auth: Auth
    """How callers prove who they are."""
    per_tenant: Limits = Limits()
    """What all callers of the tenant may ask for together."""
    per_user: Limits = Limits()
    """What each user may ask for."""
    per_queue_class: Annotated[dict[str, Limits], Field(max_length=32), _LANES_ARE_NAMES] = Field(
        default_factory=dict
    )
    """What all callers of the tenant may ask of one lane, by QueueClass name. Example: {synthesis:
    {concurrentRequests: 20}}."""


class TenantQuotaSpec(Spec):
    """What a tenant may use."""

    namespaces: Annotated[
        tuple[DnsLabel, ...], Field(min_length=1, max_length=64, json_schema_extra=LIST_SET)
    ]
    """The tenant's namespaces; a namespace belongs to at most one TenantQuota."""
    gpus: GpuQuota | None = None
    """How many GPUs the namespaces may hold together. Without it they are not limited."""
    queue_name: OptionalDnsName = ""
    """A Kueue LocalQueue that takes over the admission of GPUs; empty for Pilothouse's own."""
    callers: Callers | None = None
    """Who may call through the gateway, and how much."""


class GpuUse(Status):
    """GPUs of the tenant's namespaces."""

    used: int = 0
    """GPUs of pods that exist."""
    reserved: int = 0
    """GPUs held for pods that are about to exist, and for a rollback."""
    limit: int = 0
    """The most that the quota allows."""


class Waiting(Status):
    """A ModelDeployment that waits for GPUs."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    gpus: int
    """How many GPUs it waits for."""
    position: int
    """Its place in the queue, counted from 1."""


class Enforcement(Status):
    """Whether, and where, one limit is held."""

    limit: str
    """The limit, as a path below spec.callers. Example: perUser.requestsPerMinute."""
    where: str = ""
    """Who holds it: Gateway or Guard."""
    enforced: bool
    """Whether it is held."""
    reason: str = ""
    """Why it is not and what to do about it, or a remark on how it is."""


class TenantQuotaStatus(ConditionedStatus):
    """What Pilothouse observes of a tenant's use."""

    gpus: GpuUse | None = None
    """GPUs of the tenant's namespaces."""
    waiting: Annotated[tuple[Waiting, ...], Field(max_length=1000)] = ()
    """ModelDeployments that wait for GPUs, first in line first."""
    enforcement: Annotated[
        tuple[Enforcement, ...], Field(max_length=256, json_schema_extra=list_map("limit"))
    ] = ()
    """Whether, and where, each limit is held."""


class TenantQuota(Resource):
    """What a tenant may use: GPUs of its namespaces, and requests, tokens and concurrency of its callers."""

    model_config = ruled(
        Rule(
            "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
            "metadata.name must have at most 63 characters and no dots: callers are named tenant.user",
        ),
    )

    spec: TenantQuotaSpec
    """What a tenant may use."""
    status: TenantQuotaStatus = TenantQuotaStatus()
    """What Pilothouse observes; written by it alone."""
