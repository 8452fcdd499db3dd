"""The license verdicts of one ModelDeployment: on what its spec declares, and on each revision there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.plan.license import LicenseVerdict, declared_pins, license_verdict
from pilothouse.plan.licenseword import Pins
from pilothouse.plan.observed import Observed
from pilothouse.plan.record import checkpoint_of
from pilothouse.plan.revision import Revision


@dataclass(frozen=True, slots=True)
class Licenses:
    """What may be served; a revision that does not exist yet is what the spec declares."""

    declared: LicenseVerdict
    by_revision: Mapping[str, LicenseVerdict]

    def of(self, revision: Revision) -> LicenseVerdict:
        """Return the verdict on a revision."""
        return self.by_revision.get(revision.name, self.declared)

    def kept(self, revisions: Mapping[str, Revision], canary: str | None) -> dict[str, Revision]:
        """Leave out what is to be stopped; a canary is, by its rollback."""
        return {
            name: revision
            for name, revision in revisions.items()
            if name == canary or not self.of(revision).drains
        }

    def look_again_after(self, now: datetime) -> timedelta | None:
        """Return when time alone changes one of them."""
        verdicts = (self.declared, *self.by_revision.values())
        waits = (verdict.look_again_after(now) for verdict in verdicts)
        return min((wait for wait in waits if wait is not None), default=None)


def licenses_of(observed: Observed, revisions: Mapping[str, Revision]) -> Licenses:
    """Ask the policies about all of them."""
    by_revision = {name: license_verdict(observed, pins_of(revision)) for name, revision in revisions.items()}
    return Licenses(license_verdict(observed, declared_pins(observed.deployment)), by_revision)


def pins_of(revision: Revision) -> Pins:
    """Return what a revision serves; of a lost record the source is empty, which nothing approves."""
    checkpoint = checkpoint_of(revision)
    return Pins(revision.inputs["model"]["license"]["id"], checkpoint.source, checkpoint.revision)
