"""LicensePolicy: which license ids may be served, which are forbidden, which need an approval."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilothouse.api.common import ConditionedStatus, Resource, Spec
from pilothouse.api.rules import LIST_SET, Rule, ruled
from pilothouse.api.values import LicenseTerm


class Decision(StrEnum):
    """What a policy says of a license."""

    ALLOW = "Allow"
    DENY = "Deny"
    REQUIRE_APPROVAL = "RequireApproval"


class OnViolation(StrEnum):
    """What happens to a model that runs under a license that is no longer allowed."""

    REPORT = "Report"
    DRAIN = "Drain"


class LicenseRule(Spec):
    """One decision on some licenses."""

    model_config = ruled(
        Rule(
            "self.decision == 'Allow' || has(self.reason)",
            "reason must be set with decision Deny and RequireApproval",
            field=".reason",
        ),
    )

    ids: Annotated[tuple[LicenseTerm, ...], Field(min_length=1, max_length=32, json_schema_extra=LIST_SET)]
    """The licenses that this rule decides on, without regard to case; each is in at most one rule. `X WITH Y`
    and `X+` are X where no rule names them whole. Example: [Apache-2.0, MIT]."""
    decision: Decision
    """Allow, Deny or RequireApproval (a LicenseApproval must name the checkpoint and revision)."""
    reason: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Why, in a sentence that refused people read; required unless the decision is Allow."""


class LicensePolicySpec(Spec):
    """Which licenses may be served."""

    default: Decision = Decision.DENY
    """The decision on every license that no rule names."""
    rules: Annotated[
        tuple[LicenseRule, ...],
        Field(max_length=16),
        Rule(
            "self.all(r, r.ids.all(i, self.exists_one(o, i in o.ids)))",
            "must have each id in at most one rule",
        ),
    ] = ()
    """The decisions; an id is in at most one rule."""
    on_violation: OnViolation = OnViolation.REPORT
    """What happens to what already runs under a license that is not allowed: Report, or Drain to stop it."""


class LicensePolicy(Resource):
    """Which license ids may be served, which are forbidden, which need an approval."""

    spec: LicensePolicySpec
    """Which licenses may be served."""
    status: ConditionedStatus = ConditionedStatus()
    """What Pilothouse observes; written by it alone."""
