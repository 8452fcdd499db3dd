"""LicenseApproval: legal's word that one pinned checkpoint may be served under one license until a date."""

from typing import Annotated

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec
from pilothouse.api.values import LicenseID, Revision, Source, Timestamp


class LicenseApprovalSpec(Spec):
    """One approval; it can't be changed, only replaced by another."""

    license_id: Annotated[LicenseID, Field(alias="licenseID")]
    """The license that is approved. Example: LicenseRef-DeepSeek."""
    checkpoint: Source
    """The checkpoint that may be served under it, as in spec.model.checkpoint.source of a ModelDeployment."""
    revision: Revision
    """The one revision of the checkpoint that may be served, as in spec.model.checkpoint.revision."""
    ticket: Annotated[str, Field(pattern=r"^\S.*$", max_length=256)]
    """Where the decision is written down. Example: LEGAL-123."""
    expires: Timestamp
    """When the approval ends, RFC 3339. Example: 2027-06-30T00:00:00Z."""


class LicenseApproval(Resource):
    """Legal's word that one pinned checkpoint may be served under one license until a date."""

    spec: LicenseApprovalSpec
    """One approval; it can't be changed, only replaced by another."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""
