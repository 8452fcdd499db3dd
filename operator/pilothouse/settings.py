"""All configuration of the operator, read from the environment once at start."""

import os
import socket
import uuid
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_PREFIX: Final = "PILOTHOUSE_"

Seconds = Annotated[float, Field(gt=0)]


def _unique_identity() -> str:
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def _words(text: object) -> object:
    """Take a text with commas apart: an environment variable holds no list."""
    return tuple(filter(None, text.split(","))) if isinstance(text, str) else text


_DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Settings(BaseModel):
    """Each field is the environment variable PILOTHOUSE_<FIELD>; durations are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = "pilothouse-system"
    """Where the Lease and the Secrets with tokens for Prometheus are."""
    identity: str = Field(default_factory=_unique_identity, min_length=1)
    """Who holds the Lease: the pod's name, so that a restarted container takes up its own Lease at once."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    http_host: str = "0.0.0.0"  # noqa: S104 -- probes and Prometheus come from other addresses
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Where /healthz, /readyz and /metrics are served."""
    hub_endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s/?#]+[^\s?#]*)?$")] = ""
    """Where hf:// sources are fetched from, such as a mirror; Hugging Face's own hub where empty."""
    require_license_policy: bool = False
    """Whether nothing may be served while no LicensePolicy exists."""
    allowed_namespaces: Annotated[tuple[_DnsLabel, ...], BeforeValidator(_words)] = ()
    """Whose pods may reach engine pods, besides the operator's own namespace, as one text with commas; all
    may where it is empty."""
    require_tenant_quota: bool = False
    """Whether nothing new may run in a namespace that no TenantQuota names."""
    workers: Annotated[int, Field(ge=1, le=256)] = 32
    """How many objects are reconciled at the same time; one that rolls out waits for its engines."""
    scrape_seconds: Seconds = 1
    """How long an engine may take to tell its metrics, and how long a rollout waits for Prometheus."""
    prometheus_seconds: Seconds = 5
    """How long Prometheus may take to answer; the answer is then taken at the next look."""
    preflight_seconds: Seconds = 120
    """How long the preflight of a pod may take; a long context adds to it."""
    preflights: Annotated[int, Field(ge=1, le=256)] = 8
    """How many pods are in their preflight at the same time."""
    resync_seconds: Seconds = 600
    """How often what is known is compared with what is there."""
    discovery_seconds: Seconds = 15
    """How often is asked whether the optional kinds are served."""
    lease_seconds: Seconds = 15
    """How long others wait for a holder that is silent."""
    renew_deadline_seconds: Seconds = 10
    """How long the holder works on without a successful renewal."""
    retry_seconds: Seconds = 2
    """How often the Lease is renewed, or looked at by a standby."""
    stop_seconds: Seconds = 10
    """How long running reconciles may take to finish at a stop."""
    stuck_seconds: Seconds = 300
    """How long one reconcile may run before /healthz fails."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read PILOTHOUSE_*; raises pydantic's ValidationError for an unknown name or a bad value."""
        return cls.model_validate(
            {key.removeprefix(_PREFIX).lower(): value for key, value in environment.items() if _is_ours(key)}
        )

    @property
    def network_peers(self) -> tuple[str, ...]:
        """Whose pods may reach engine pods, the operator's own among them; all where there are none."""
        return (*self.allowed_namespaces, self.namespace) if self.allowed_namespaces else ()

    @model_validator(mode="after")
    def _writing_stops_before_the_lease_is_lost(self) -> Self:
        if not self.retry_seconds < self.renew_deadline_seconds < self.lease_seconds:
            raise ValueError("it must hold that retry_seconds < renew_deadline_seconds < lease_seconds")
        return self


def _is_ours(key: str) -> bool:
    """Kubernetes itself puts PILOTHOUSE_SERVICE_HOST and the like into pods, for a Service of that name."""
    return key.startswith(_PREFIX) and not key.startswith((f"{_PREFIX}SERVICE_", f"{_PREFIX}PORT"))
