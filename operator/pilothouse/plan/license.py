"""Whether a license may be served: what the cluster's LicensePolicies say of it; the strictest one decides.

An SPDX expression is not taken apart: a rule decides on the text as it is declared, and what no rule names
falls to the policy's default. A policy that can't be read allows nothing, so that breaking one never opens
what it closed.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import Decision, LicensePolicySpec, OnViolation
from pilothouse.names import Reason
from pilothouse.plan.observed import Observed


@dataclass(frozen=True, slots=True)
class LicenseVerdict:
    """What the policies say together.

    `drains` says that what runs is to be stopped too; `ends_after` is how long an approval still holds.
    """

    allowed: bool
    reason: Reason
    message: str
    drains: bool = False
    ends_after: timedelta | None = None


def license_verdict(observed: Observed) -> LicenseVerdict:
    """Ask every policy; one that refuses decides, else the one whose word ends first."""
    policies = observed.license_policies
    if not policies:
        return _allowed(Reason.NO_POLICY, "no LicensePolicy exists")
    said = [_verdict(observed, name, policies[name]) for name in sorted(policies)]
    refused = [verdict for verdict in said if not verdict.allowed]
    if refused:
        return max(refused, key=lambda verdict: verdict.drains)
    return min(said, key=lambda verdict: verdict.ends_after or timedelta.max)


def _verdict(observed: Observed, name: str, policy: LicensePolicySpec | None) -> LicenseVerdict:
    if not policy:
        return _refused(Reason.LICENSE_DENIED, f"LicensePolicy {name} can't be read, so it allows nothing")
    license_id = observed.deployment.spec.model.license.id
    decision, why = _decision(policy, license_id)
    said = f"LicensePolicy {name}: spec.model.license.id {license_id}"
    verdict = _judged(observed, decision, said, why)
    return replace(verdict, drains=not verdict.allowed and policy.on_violation is OnViolation.DRAIN)


def _decision(policy: LicensePolicySpec, license_id: str) -> tuple[Decision, str]:
    for rule in policy.rules:
        if license_id in rule.ids:
            return rule.decision, rule.reason or "a rule names it"
    return policy.default, "no rule names it, and this is the default"


def _judged(observed: Observed, decision: Decision, said: str, why: str) -> LicenseVerdict:
    if decision is Decision.ALLOW:
        return _allowed(Reason.LICENSE_ALLOWED, f"{said} is allowed: {why}")
    if decision is Decision.DENY:
        return _refused(Reason.LICENSE_DENIED, f"{said} is denied: {why}")
    approval = _last_approval(observed)
    if not approval:
        message = f"{said} needs a LicenseApproval of this checkpoint and revision: {why}"
        return _refused(Reason.LICENSE_APPROVAL_REQUIRED, message)
    if approval.expires <= observed.now:
        return _refused(Reason.LICENSE_APPROVAL_EXPIRED, f"{said}: approval {approval.ticket} has expired")
    approved = _allowed(Reason.LICENSE_APPROVED, f"{said} is approved by {approval.ticket}")
    return replace(approved, ends_after=approval.expires - observed.now)


def _last_approval(observed: Observed) -> LicenseApprovalSpec | None:
    model = observed.deployment.spec.model
    pinned = (model.license.id, model.checkpoint.source, model.checkpoint.revision)
    matching = (
        approval
        for approval in observed.approvals
        if (approval.license_id, approval.checkpoint, approval.revision) == pinned
    )
    return max(matching, key=lambda approval: approval.expires, default=None)


def _allowed(reason: Reason, message: str) -> LicenseVerdict:
    return LicenseVerdict(allowed=True, reason=reason, message=message)


def _refused(reason: Reason, message: str) -> LicenseVerdict:
    return LicenseVerdict(allowed=False, reason=reason, message=message)
