"""What the seven kinds share: base model, object envelope, conditions, parse errors."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pilothouse.api.rules import list_map
from pilothouse.api.values import DnsName, Text, Timestamp

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


class Spec(_Model):
    """The base of what people write: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Status(_Model):
    """The base of what Pilothouse writes: what a newer version added is passed over."""

    model_config = ConfigDict(extra="ignore")


class Metadata(Status):
    """What Pilothouse reads of an object's metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Condition(Status):
    """One observation of the object's state."""

    type: Annotated[str, Field(max_length=316)]
    """What is observed, in CamelCase."""
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})]
    """Whether it holds: True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, as one CamelCase word; the same word stands in Events, logs and metrics."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, in a sentence for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """The `metadata.generation` that this condition speaks of."""


class ConditionedStatus(Status):
    """The status that every kind has."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """The `metadata.generation` that this status speaks of."""
    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=32, json_schema_extra=list_map("type"))
    ] = ()
    """What is observed of this object, one entry for each type."""


class LocalReference(Spec):
    """The name of an object in the same namespace."""

    name: DnsName
    """The object's name."""


class SecretKeyReference(Spec):
    """One key of a Secret in the same namespace."""

    name: DnsName
    """The Secret's name."""
    key: Annotated[
        str,
        Text(
            pattern=r"^[-._a-zA-Z0-9]+$",
            says="must be a Secret's key: letters, digits, hyphens, underscores and dots",
            max_length=253,
        ),
    ]
    """The key inside the Secret."""


class Resource(_Model):
    """The envelope of every kind: subclasses add `spec` and `status`."""

    model_config = ConfigDict(extra="ignore")

    metadata: Metadata

    @classmethod
    def parse(cls, obj: Object) -> Self:
        """Read an object as the API server gives it; raises pydantic's ValidationError."""
        return cls.model_validate(obj)


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of an object."""

    path: str
    """The field, as `kubectl explain` writes it: `spec.model.checkpoint.revision`, `spec.steps[2].weight`."""
    message: str
    """What is wrong, in a sentence."""


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """Name each field that `parse` refused, in the model's order, without the values: they may be secret."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldError(path=_path(detail["loc"]), message=detail["msg"]) for detail in details)


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")
