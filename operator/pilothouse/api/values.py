"""The small strings of the API that mean more than text: durations, quantities, sources, ids.

Each is a string in YAML and in Python. One pattern and one sentence hold it, at the API server and in
pydantic, so that the properties here can't fail on a parsed object.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pilothouse.api.rules import Rule


@dataclass(frozen=True)
class Text:
    """Annotation of a string: what it must match, said in a sentence rather than as a regular expression.

    `says` completes "<field> ..."; it has no quotation marks of CEL (`'`) in it, and neither has `pattern`.
    """

    pattern: str
    says: str
    max_length: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=self.pattern, max_length=self.max_length)
        return core_schema.custom_error_schema(text, "pilothouse_text", custom_error_message=self.says)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        bare: JsonSchemaValue = {"type": "string", "maxLength": self.max_length}
        return Rule(f"self.matches(r'{self.pattern}')", self.says).added_to(bare)


class _TextType(str):
    """A string type of its own, held by its `text`."""

    __slots__ = ()
    text: ClassVar[Text]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, cls.text.__get_pydantic_core_schema__(source, handler)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return cls.text.__get_pydantic_json_schema__(core, handler)


_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Duration(_TextType):
    """A span of time as the Gateway API writes it: `30s`, `2m`, `1h30m`, `400ms`."""

    __slots__ = ()
    text = Text(
        pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        says="must be a duration such as 400ms, 30s, 2m or 1h30m",
        max_length=32,
    )

    @property
    def seconds(self) -> float:
        """Give the length in seconds."""
        parts = re.findall(r"([0-9]+)(ms|h|m|s)", self)
        return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


PositiveDuration = Annotated[
    Duration,
    Rule(
        "duration(self) > duration('0s') && duration(self) <= duration('24h')",
        "must be longer than 0s and at most 24h",
    ),
]
"""A span that can't be nothing and ends within a day."""


class Scheme(StrEnum):
    """Where an artifact comes from."""

    HF = "hf"
    PVC = "pvc"
    OCI = "oci"


_HF_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_PVC_CLAIM: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_PATH_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_OCI_REPOSITORY: Final = r"[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"


class Source(_TextType):
    """Where an artifact lies, without its revision: `hf://owner/name`, `pvc://claim/path` or `oci://image`."""

    __slots__ = ()
    text = Text(
        pattern=(
            rf"^(hf://{_HF_NAME}/{_HF_NAME}|pvc://{_PVC_CLAIM}(/{_PATH_SEGMENT})+|oci://{_OCI_REPOSITORY})$"
        ),
        says="must be hf://owner/name, pvc://claim/path or oci://registry/image without tag and digest",
        max_length=400,
    )

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


_QUANTITY: Final = Text(
    pattern=r"^([0-9]+([.][0-9]{1,3})?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    says="must be a quantity such as 4, 500m or 32Gi",
    max_length=24,
)


class _IntOrString:
    """Annotation: the API server takes a number too, as it does for every quantity of Kubernetes."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        matches = Rule(f"string(self).matches(r'{_QUANTITY.pattern}')", _QUANTITY.says)
        positive = Rule(
            "!isQuantity(string(self)) || quantity(string(self)).isGreaterThan(quantity('0'))",
            "must be more than 0",
        )
        bare: JsonSchemaValue = {"x-kubernetes-int-or-string": True, "maxLength": _QUANTITY.max_length}
        return positive.added_to(matches.added_to(bare))


Quantity = Annotated[str, _QUANTITY, BeforeValidator(_as_text), _IntOrString()]
"""An amount of cpu or memory as Kubernetes writes it: `4`, `500m`, `32Gi`."""

Revision = Annotated[
    str,
    Text(
        pattern=r"^([0-9a-f]{40}|sha256:[0-9a-f]{64})$",
        says="must be a commit of 40 hex digits, or sha256: and 64 hex digits; a branch or tag pins nothing",
        max_length=71,
    ),
]
"""What pins an artifact: a commit or a digest."""


def pinned(source: str, revision: str) -> str:
    """Give the CEL rule that `revision` has the form that `source` asks for; both are CEL expressions."""
    commit = f"{revision}.matches(r'^[0-9a-f]{{40}}$')"
    return f"{source}.startsWith('hf://') ? {commit} : {revision}.startsWith('sha256:')"


Digest = Annotated[
    str,
    Text(pattern=r"^sha256:[0-9a-f]{64}$", says="must be sha256: and 64 hex digits", max_length=71),
]
"""A sha256 digest with its prefix."""

_LICENSE_ID: Final = r"(DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9][A-Za-z0-9.-]*[+]?"

LicenseID = Annotated[
    str,
    Text(
        pattern=rf"^[(]*{_LICENSE_ID}[)]*( (AND|OR|WITH) [(]*{_LICENSE_ID}[)]*)*$",
        says="must be an SPDX id such as Apache-2.0, a LicenseRef-..., or an SPDX expression of these",
        max_length=128,
    ),
    Rule("self.split('(').size() == self.split(')').size()", "must have balanced parentheses"),
]
"""An SPDX id (`Apache-2.0`), a `LicenseRef-...` where SPDX has none, or an SPDX expression of these."""

LicenseTerm = Annotated[
    str,
    Text(
        pattern=rf"^{_LICENSE_ID}( WITH {_LICENSE_ID})?$",
        says="must be one license, such as Apache-2.0, a LicenseRef-... or GPL-2.0-only WITH an exception",
        max_length=128,
    ),
]
"""One license, with its exception if it has one; what AND and OR join are several."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

DnsLabel = Annotated[
    str,
    Text(
        pattern=rf"^{_LABEL}$",
        says="must be a name of lower-case letters, digits and hyphens, at most 63 characters",
        max_length=63,
    ),
]
"""A DNS-1123 label: the name of a namespace, QueueClass or Service."""

_NAME: Final = rf"{_LABEL}([.]{_LABEL})*"

DnsName = Annotated[
    str,
    Text(
        pattern=rf"^{_NAME}$",
        says="must be a name of lower-case letters, digits, hyphens and dots",
        max_length=253,
    ),
]
"""A DNS-1123 subdomain: the name of most Kubernetes objects."""

OptionalDnsName = Annotated[
    str,
    Text(
        pattern=rf"^({_NAME})?$",
        says="must be a name of lower-case letters, digits, hyphens and dots, or empty",
        max_length=253,
    ),
]
"""The name of a Kubernetes object, or empty for none."""

Hostname = Annotated[
    str,
    Text(
        pattern=rf"^([*][.])?{_NAME}$",
        says="must be a host name such as models.example.com or *.example.com, without port and path",
        max_length=253,
    ),
    Rule("!isIP(self)", "must be a name, not an address"),
]
"""A host name as the Gateway API takes it: no address, no port; `*.` may stand for the first label."""

QualifiedName = Annotated[
    str,
    Text(
        pattern=rf"^{_NAME}/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
        says="must be a qualified name such as nvidia.com/gpu",
        max_length=317,
    ),
]
"""A name with its domain, as extended resources have."""

Image = Annotated[
    str,
    Text(
        pattern=(
            r"^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
            r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
        ),
        says="must be a container image such as vllm/vllm-openai:v0.32.0",
        max_length=512,
    ),
]
"""A container image as a kubelet pulls it."""

_PORT: Final = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""From 1 to 65535: with another one, Envoy Gateway stops telling its Envoys anything."""

Url = Annotated[
    str,
    Text(
        pattern=rf"^https?://[A-Za-z0-9.-]+(:{_PORT})?(/([A-Za-z0-9._~/-]|%[0-9A-Fa-f]{{2}})*)?$",
        says="must be an http or https URL with a port up to 65535, without credentials, query and fragment",
        max_length=512,
    ),
]
"""Where an HTTP service is; never with a password in it."""


def rfc3339(moment: datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A moment, written as Kubernetes does: RFC 3339, UTC, whole seconds."""
