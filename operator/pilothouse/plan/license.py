"""Whether a license may be served: what the cluster's LicensePolicies say of it; the strictest one decides.

Breaking or deleting a policy never opens what it closed: one that can't be read allows nothing, and
`licensegone` speaks for one that is gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pilothouse.api.licensepolicy import Decision, OnViolation
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import LicenseStatus
from pilothouse.errors import MalformedExpression
from pilothouse.names import Reason
from pilothouse.plan.licensegone import remembered, word_of_the_gone
from pilothouse.plan.licensemessage import message_of
from pilothouse.plan.licenseword import Pins, Standing, Word, word
from pilothouse.plan.observed import Observed
from pilothouse.plan.spdx import Expression, parse, strictest

WARNED: Final = timedelta(days=14)
"""How long before its end an approval is said to end."""

_NO_POLICY: Final = "NoPolicy"

_REASONS: Final = {
    Standing.ALLOWED: Reason.LICENSE_ALLOWED,
    Standing.APPROVED: Reason.LICENSE_APPROVED,
    Standing.EXPIRED: Reason.LICENSE_APPROVAL_EXPIRED,
    Standing.UNAPPROVED: Reason.LICENSE_APPROVAL_REQUIRED,
    Standing.DENIED: Reason.LICENSE_DENIED,
    Standing.UNREADABLE: Reason.LICENSE_DENIED,
    Standing.GONE: Reason.LICENSE_POLICY_MISSING,
}


@dataclass(frozen=True, slots=True)
class LicenseVerdict:
    """What the policies say together.

    `said` is what the status shows. `drains` says that what runs under the license is to be stopped too.
    """

    allowed: bool
    reason: Reason
    message: str
    said: LicenseStatus
    drains: bool = False

    def expires_soon(self, now: datetime) -> bool:
        """Say whether the approval that allows it ends within two weeks."""
        ends = self.said.expires
        return self.allowed and ends is not None and ends - now <= WARNED

    def look_again_after(self, now: datetime) -> timedelta | None:
        """Return when time alone changes something: first the end comes near, then it is there."""
        ends = self.said.expires
        if not self.allowed or ends is None:
            return None
        return ends - now if self.expires_soon(now) else ends - now - WARNED


def declared_pins(deployment: ModelDeployment) -> Pins:
    """Return what the spec declares."""
    model = deployment.spec.model
    return Pins(model.license.id, model.checkpoint.source, model.checkpoint.revision)


def license_verdict(observed: Observed, pins: Pins) -> LicenseVerdict:
    """Ask every policy that there is, and what is known of one that is gone."""
    try:
        expression = parse(pins.license_id)
    except MalformedExpression as error:
        message = f"spec.model.license.id {pins.license_id} is no SPDX expression: {error}"
        said = LicenseStatus(id=pins.license_id, decision=Decision.DENY)
        return LicenseVerdict(allowed=False, reason=Reason.INVALID_SPEC, message=message, said=said)
    words = list(_words(observed, pins, expression))
    lacks = observed.demands_license_policy and not observed.license_policies
    return _without_a_policy(observed, pins) if lacks or not words else _verdict(observed, pins, words)


def _words(observed: Observed, pins: Pins, expression: Expression) -> Iterator[Word]:
    for policy in sorted(observed.license_policies):
        yield strictest(expression, partial(word, observed, pins, policy), lambda said: said.strictness)
    gone = word_of_the_gone(observed, pins, expression)
    if gone:
        yield gone


def _without_a_policy(observed: Observed, pins: Pins) -> LicenseVerdict:
    said = remembered(observed, pins) or LicenseStatus(id=pins.license_id, decision=_NO_POLICY)
    if not observed.demands_license_policy:
        message = "no LicensePolicy exists"
        return LicenseVerdict(allowed=True, reason=Reason.NO_POLICY, message=message, said=said)
    message = "no LicensePolicy exists, and the operator demands one: create one that allows the license"
    return LicenseVerdict(allowed=False, reason=Reason.LICENSE_POLICY_MISSING, message=message, said=said)


def _verdict(observed: Observed, pins: Pins, words: list[Word]) -> LicenseVerdict:
    decides = max(words, key=lambda said: said.strictness)
    draining = [said.policy for said in words if said.refuses and _drains(observed, said.policy)]
    stops = (
        f"; what runs is stopped by onViolation of LicensePolicy {', '.join(draining)}" if draining else ""
    )
    field = "spec.model.license.id" if pins == declared_pins(observed.deployment) else "license"
    return LicenseVerdict(
        allowed=not decides.refuses,
        reason=_REASONS[decides.standing],
        message=f"{field} {pins.license_id}: {message_of(observed, decides)}{stops}",
        said=_status_of(pins, decides),
        drains=bool(draining),
    )


def _drains(observed: Observed, name: str) -> bool:
    policy = observed.license_policies.get(name)
    return bool(policy and policy.on_violation is OnViolation.DRAIN)


def _status_of(pins: Pins, decides: Word) -> LicenseStatus:
    approval = decides.approval
    return LicenseStatus(
        id=pins.license_id,
        decision=decides.decision,
        policy=decides.policy,
        approval=approval.name if approval else "",
        ticket=approval.spec.ticket if approval else "",
        expires=approval.spec.expires if approval else None,
    )
