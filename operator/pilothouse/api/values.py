"""The small strings of the API that mean more than text: durations, quantities, sources, ids.

Each is a string in YAML and in Python, with a pattern that the API server and pydantic both hold it to, so
that the properties here can't fail on a parsed object.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
)
from pydantic_core import CoreSchema, core_schema

from pilothouse.api.rules import Rule


class _Patterned(str):
    """A string that pydantic checks against `pattern` and hands out as this type."""

    __slots__ = ()
    pattern: ClassVar[str]
    max_length: ClassVar[int]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=cls.pattern, max_length=cls.max_length)
        return core_schema.no_info_after_validator_function(cls, text)


_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Duration(_Patterned):
    """A span of time as the Gateway API writes it: `30s`, `2m`, `1h30m`, `400ms`."""

    __slots__ = ()
    pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
    max_length = 32

    @property
    def seconds(self) -> float:
        """Give the length in seconds."""
        parts = re.findall(r"([0-9]+)(ms|h|m|s)", self)
        return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


PositiveDuration = Annotated[
    Duration,
    Rule("duration(self) > duration('0s')", "must be longer than 0s"),
    Rule("duration(self) <= duration('24h')", "must be at most 24h"),
]
"""A span that can't be nothing and ends within a day."""


class Scheme(StrEnum):
    """Where an artifact comes from."""

    HF = "hf"
    PVC = "pvc"
    OCI = "oci"


_HF_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_PVC_CLAIM: Final = r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?"
_PATH_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_OCI_REPOSITORY: Final = r"[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"


class Source(_Patterned):
    """Where an artifact lies, without its revision: `hf://owner/name`, `pvc://claim/path` or `oci://image`."""

    __slots__ = ()
    pattern = (
        rf"^(hf://{_HF_NAME}/{_HF_NAME}"
        rf"|pvc://{_PVC_CLAIM}(/{_PATH_SEGMENT})+"
        rf"|oci://{_OCI_REPOSITORY})$"
    )
    max_length = 400

    @property
    def scheme(self) -> Scheme:
        """Give what stands before `://`."""
        return Scheme(self.partition("://")[0])

    @property
    def location(self) -> str:
        """Give what stands after `://`: `owner/name`, `claim/path` or the image without digest."""
        return self.partition("://")[2]

    @property
    def claim(self) -> str:
        """Give the PersistentVolumeClaim's name; meaningful for `pvc://` only."""
        return self.location.partition("/")[0]

    @property
    def path(self) -> str:
        """Give the folder inside the claim, relative; meaningful for `pvc://` only."""
        return self.location.partition("/")[2]


def _as_text(value: Any) -> Any:  # noqa: ANN401 -- whatever the manifest has; the string schema judges it
    return str(value) if type(value) is int else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]{1,3})?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$", max_length=24),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
    Rule("quantity(string(self)).isGreaterThan(quantity('0'))", "must be more than 0"),
]
"""An amount of cpu or memory as Kubernetes writes it: `4`, `500m`, `32Gi`."""

Revision = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9a-f]{40}|sha256:[0-9a-f]{64})$", max_length=71),
]
"""What pins an artifact: a commit (40 hex digits) or a digest (`sha256:` and 64 hex digits)."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""A sha256 digest with its prefix."""

_LICENSE_ID: Final = r"(DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9][A-Za-z0-9.-]*\+?"

LicenseID = Annotated[
    str,
    StringConstraints(
        pattern=rf"^\(*{_LICENSE_ID}\)*( (AND|OR|WITH) \(*{_LICENSE_ID}\)*)*$", min_length=1, max_length=128
    ),
    Rule("self.split('(').size() == self.split(')').size()", "parentheses must be balanced"),
]
"""An SPDX id (`Apache-2.0`), a `LicenseRef-...` where SPDX has none, or an SPDX expression of these."""

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A DNS-1123 label: the name of a namespace, QueueClass, Service."""

DnsName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253
    ),
]
"""A DNS-1123 subdomain: the name of most Kubernetes objects."""

OptionalDnsName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$", max_length=253
    ),
]
"""The name of a Kubernetes object, or empty for none."""

Image = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$", min_length=1, max_length=512)
]
"""A container image as a kubelet pulls it."""


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""A moment, written as Kubernetes does: RFC 3339, UTC, whole seconds."""
