"""LicenseApproval: legal's word that one pinned checkpoint may be served under one license until a date."""

from typing import Annotated

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec
from pilothouse.api.rules import Rule, ruled
from pilothouse.api.values import LicenseTerm, Revision, Source, Text, Timestamp, pinned


class LicenseApprovalSpec(Spec):
    """One approval; it can't be changed, only replaced by another."""

    model_config = ruled(
        Rule("self == oldSelf", "spec can't be changed: create another LicenseApproval"),
        Rule(
            pinned(source="self.checkpoint", revision="self.revision"),
            "revision must be a commit (40 hex digits) for hf://, a sha256: digest for pvc:// and oci://",
            field=".revision",
        ),
    )

    license_id: Annotated[LicenseTerm, Field(alias="licenseID")]
    """The license that is approved; of an expression the part that needs it. Example: LicenseRef-DeepSeek."""
    checkpoint: Source
    """The checkpoint that may be served under it, as in spec.model.checkpoint.source of a ModelDeployment."""
    revision: Revision
    """The one revision of the checkpoint that may be served, as in spec.model.checkpoint.revision."""
    ticket: Annotated[
        str, Text(pattern=r"^[!-~]([ -~]*[!-~])?$", says="must be a ticket such as LEGAL-123", max_length=256)
    ]
    """Where the decision is written down. Example: LEGAL-123."""
    expires: Timestamp
    """When the approval ends, RFC 3339. Example: 2027-06-30T00:00:00Z."""


class LicenseApproval(Resource):
    """Legal's word that one pinned checkpoint may be served under one license until a date."""

    spec: LicenseApprovalSpec
    """One approval; it can't be changed, only replaced by another."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""
