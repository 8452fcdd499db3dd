"""What the condition says of a license: policy, rule and reason, and what would help."""

from datetime import UTC, datetime
from typing import Final

from pilothouse.plan.licenseword import Approval, Standing, Word
from pilothouse.plan.observed import Observed

_SHOWN: Final = 3


def message_of(observed: Observed, word: Word) -> str:
    """Write the sentence of the word that decides."""
    policy, reason = f"LicensePolicy {word.policy}", f": {word.why}" if word.why else ""
    rule = f"{word.license} by {word.where}{reason}"
    unreadable = _unreadable(observed)
    match word.standing:
        case Standing.ALLOWED:
            return f"{policy} allows {rule}"
        case Standing.DENIED:
            return f"{policy} denies {rule}"
        case Standing.UNREADABLE:
            return f"{policy} can't be read, so it allows nothing"
        case Standing.GONE:
            return (
                f"{policy}, which refused it, is gone, and that opens nothing: a rule of a LicensePolicy "
                f"must allow {word.license}, or a LicenseApproval this checkpoint and revision{unreadable}"
            )
        case Standing.APPROVED | Standing.EXPIRED | Standing.UNAPPROVED:
            asked = f"{policy} asks for an approval of {rule}" if word.where else f"{policy} is gone"
            return f"{asked}; {_approved(word.approval, word.standing)}{unreadable}"


def when(moment: datetime) -> str:
    """Write a moment as Kubernetes does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _approved(approval: Approval | None, standing: Standing) -> str:
    if not approval:
        return "no LicenseApproval names this license, checkpoint and revision"
    name, spec = f"LicenseApproval {approval.name} ({approval.spec.ticket})", approval.spec
    said = "holds until" if standing is Standing.APPROVED else "has expired at"
    return f"{name} {said} {when(spec.expires)}"


def _unreadable(observed: Observed) -> str:
    """Name the approvals that might be meant and can't be read."""
    found = [name for name, spec in sorted(observed.approvals.items()) if not spec]
    if not found:
        return ""
    return f"; what can't be read is no approval: {', '.join(found[:_SHOWN])}"
