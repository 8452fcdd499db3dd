"""What one LicensePolicy says of one license, with the approvals that there are."""

from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import Decision, LicensePolicySpec
from pilothouse.plan.observed import Observed
from pilothouse.plan.spdx import License, is_same


class Standing(IntEnum):
    """How a license stands, from the most permissive word to the strictest."""

    ALLOWED = 0
    APPROVED = 1
    EXPIRED = 2
    UNAPPROVED = 3
    DENIED = 4
    UNREADABLE = 5
    """The policy can't be read, so that it allows nothing."""
    GONE = 6
    """The policy that refused it is gone, and nothing took its place."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What is to be served: the license as it is declared, and the checkpoint with its revision."""

    license_id: str
    checkpoint: str
    revision: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A LicenseApproval and its name."""

    name: str
    spec: LicenseApprovalSpec


@dataclass(frozen=True, slots=True)
class Word:
    """One policy's word on one license.

    `where` is the field of the policy that says it, and `why` its reason. `decision` is the policy's own, as
    the status shows it. `approval` is the one that counts: of several the one that ends last.
    """

    standing: Standing
    policy: str
    license: str
    decision: str
    where: str = ""
    why: str = ""
    approval: Approval | None = None

    @property
    def strictness(self) -> tuple[float, ...]:
        """The order of words; of two approvals the one that ends first is the stricter."""
        ends = self.approval.spec.expires.timestamp() if self.approval else 0
        return (self.standing, -ends)

    @property
    def refuses(self) -> bool:
        """Whether the license may not be served."""
        return self.standing > Standing.APPROVED


def word(observed: Observed, pins: Pins, policy: str, of: License) -> Word:
    """Ask the policy of this name."""
    spec = observed.license_policies[policy]
    if not spec:
        return Word(Standing.UNREADABLE, policy, of.name, Decision.DENY)
    decision, where, why = _decided(spec, of)
    said = partial(Word, policy=policy, license=of.name, decision=decision, where=where, why=why)
    if decision is Decision.ALLOW:
        return said(Standing.ALLOWED)
    if decision is Decision.DENY:
        return said(Standing.DENIED)
    approval = approval_of(observed, pins, of)
    return said(standing_of(observed, approval), approval=approval)


def is_named(policy: LicensePolicySpec, of: License) -> bool:
    """Say whether a rule, and not the default, decides on the license."""
    return _rule(policy, of) is not None


def approval_of(observed: Observed, pins: Pins, of: License) -> Approval | None:
    """Return the approval of exactly this license, checkpoint and revision that ends last."""
    matching = (
        Approval(name, spec)
        for name, spec in sorted(observed.approvals.items())
        if spec
        and is_same(spec.license_id, of.name)
        and (spec.checkpoint, spec.revision) == (pins.checkpoint, pins.revision)
    )
    return max(matching, key=lambda approval: approval.spec.expires, default=None)


def standing_of(observed: Observed, approval: Approval | None) -> Standing:
    """Say how a license stands that needs an approval and has this one; it ends in the second it names."""
    if not approval:
        return Standing.UNAPPROVED
    return Standing.APPROVED if approval.spec.expires > observed.now else Standing.EXPIRED


def _decided(policy: LicensePolicySpec, of: License) -> tuple[Decision, str, str]:
    found = _rule(policy, of)
    if found is None:
        return policy.default, "spec.default", "no rule names it"
    number, name = found
    rule = policy.rules[number]
    return rule.decision, f"spec.rules[{number}] ({name})", rule.reason or ""


def _rule(policy: LicensePolicySpec, of: License) -> tuple[int, str] | None:
    """Return the number of the rule that decides, and by which id: the most exact one, then the strictest."""
    for name in of.names:
        found = [
            (number, rule_id)
            for number, rule in enumerate(policy.rules)
            for rule_id in rule.ids
            if is_same(rule_id, name)
        ]
        if found:
            return max(found, key=lambda match: _SEVERITY[policy.rules[match[0]].decision])
    return None


_SEVERITY = {Decision.ALLOW: 0, Decision.REQUIRE_APPROVAL: 1, Decision.DENY: 2}
