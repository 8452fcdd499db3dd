"""What a LicensePolicy refused and that is gone: deleting a policy opens nothing by itself.

The status remembers which policy refused the declared license. What took its place is a rule of another
policy that names the license, whatever it says; a default that happens to allow it has not been asked.
"""

from functools import partial

from pilothouse.api.licensepolicy import Decision
from pilothouse.api.modeldeploymentstatus import LicenseStatus
from pilothouse.plan.licenseword import Pins, Standing, Word, approval_of, is_named, standing_of
from pilothouse.plan.observed import Observed
from pilothouse.plan.spdx import Expression, License, is_same, strictest


def remembered(observed: Observed, pins: Pins) -> LicenseStatus | None:
    """Return the restriction of this license by a policy that is gone, if the status knows one."""
    known = observed.deployment.status.license
    if not known or not known.policy or known.policy in observed.license_policies:
        return None
    return known if known.decision != Decision.ALLOW and is_same(known.id, pins.license_id) else None


def word_of_the_gone(observed: Observed, pins: Pins, expression: Expression) -> Word | None:
    """Return what still holds of it, or None where nothing does."""
    known = remembered(observed, pins)
    if not known:
        return None
    said = strictest(expression, partial(_word, observed, pins, known), lambda word: word.strictness)
    return said if said.standing > Standing.ALLOWED else None


def _word(observed: Observed, pins: Pins, known: LicenseStatus, of: License) -> Word:
    successors = (policy for policy in observed.license_policies.values() if policy)
    if any(is_named(policy, of) for policy in successors):
        return Word(Standing.ALLOWED, known.policy, of.name, known.decision)
    approval = approval_of(observed, pins, of)
    covered = standing_of(observed, approval) is Standing.APPROVED
    standing = Standing.APPROVED if covered else Standing.GONE
    return Word(standing, known.policy, of.name, known.decision, approval=approval if covered else None)
