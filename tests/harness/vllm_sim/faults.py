"""What can be made to go wrong, by VLLM_SIM_FAULTS (JSON) at the start or by POST /sim/faults later."""

import os
from random import Random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ENVIRONMENT = "VLLM_SIM_FAULTS"
Share = Annotated[float, Field(ge=0, le=1)]


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slower(_Fault):
    """A share of the requests takes `factor` times as long, from `after_seconds` after the fault was set."""

    factor: float = Field(ge=1)
    after_seconds: float = Field(default=0, ge=0)
    share: Share = 1


class Errors(_Fault):
    """A share of the generation requests is answered with this HTTP status."""

    status: int = Field(default=500, ge=400, le=599)
    share: Share = 1


class Faults(_Fault):
    """All that is wrong at the moment; the empty object is a healthy engine."""

    slower_prefill: Slower | None = None
    slower_decode: Slower | None = None
    errors: Errors | None = None
    endless_output: bool = Field(default=False, description="ignores end of text, stops and max_tokens")
    other_tokenizer: bool = Field(default=False, description="cuts text with another table of merges")
    model_name: str | None = Field(default=None, description="serves under this name instead of its own")
    load_seconds: float | None = Field(default=None, ge=0, description="loading takes this long")
    crash_at_load: bool = Field(default=False, description="exits with 1 while loading")
    crash_after_requests: int | None = Field(
        default=None, ge=0, description="exits with 1 at the request after N"
    )
    out_of_memory: bool = Field(
        default=False, description="exits with 1 and CUDA's message, also at run time"
    )
    deaf_to_leaving: bool = Field(default=False, description="goes on generating for clients that have left")
    hang: bool = Field(default=False, description="the engine takes no more steps; HTTP still answers")
    unhealthy: bool = Field(default=False, description="/health answers 503")
    metrics: Literal["missing", "nan"] | None = Field(default=None, description="how /metrics is broken")

    @classmethod
    def from_environment(cls) -> "Faults":
        """The faults to start with; raises ValueError if the variable holds no such JSON."""
        return cls.model_validate_json(os.environ.get(ENVIRONMENT) or "{}")


def slowdown(fault: Slower | None, request_id: str, seconds_set: float) -> float:
    """Factor by which this fault slows the request; the same request is always hit or never."""
    if fault is None or seconds_set < fault.after_seconds:
        return 1
    return fault.factor if hit(fault.share, request_id) else 1


def hit(share: float, request_id: str) -> bool:
    """Whether a fault for a share of the requests is for this one."""
    return Random(request_id).random() < share  # noqa: S311 (a lot, not a secret)
