"""What legal writes in the tests: policies and approvals, under names that no other file uses."""

import json
from collections.abc import Callable
from typing import Any

from e2e.manifests import COMMIT, model
from pilothouse.names import API_VERSION

Object = dict[str, Any]

FORBIDDEN = "LicenseRef-Pilothouse-Test-Forbidden"
GATED = "LicenseRef-Pilothouse-Test-Gated"
OPEN = "LicenseRef-Pilothouse-Test-Open"

FORBIDS: Object = {"ids": [FORBIDDEN], "decision": "Deny", "reason": "non-commercial"}
GATES: Object = {"ids": [GATED], "decision": "RequireApproval", "reason": "hosted use counts as distribution"}


class Legal:
    """One policy and one approval, both of this name."""

    def __init__(self, kubectl: Callable[..., str], name: str) -> None:
        self._kubectl = kubectl
        self._name = name

    def rule(self, *rules: Object, on_violation: str = "Report") -> None:
        """Write the policy: whatever no rule names is allowed, since other tests serve it."""
        self._apply("LicensePolicy", {"default": "Allow", "rules": rules, "onViolation": on_violation})

    def withdraw_policy(self) -> None:
        """Delete the policy."""
        self._delete("licensepolicy")

    def approve(self, license_id: str) -> None:
        """Approve the checkpoint that the tests serve."""
        spec = {
            "licenseID": license_id,
            "checkpoint": model()["checkpoint"]["source"],
            "revision": COMMIT,
            "ticket": "LEGAL-1",
            "expires": "2999-01-01T00:00:00Z",
        }
        self._apply("LicenseApproval", spec)

    def withdraw_approval(self) -> None:
        """Delete the approval."""
        self._delete("licenseapproval")

    def _apply(self, kind: str, spec: Object) -> None:
        made = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": self._name}, "spec": spec}
        self._kubectl("apply", "--filename=-", input=json.dumps(made))

    def _delete(self, kind: str) -> None:
        self._kubectl("delete", f"{kind}/{self._name}", "--ignore-not-found")


def licensed(license_id: str) -> Object:
    """The model of the tests, under its own license and another one; only reconcile can judge the two."""
    return model() | {"license": {"id": f"Apache-2.0 AND {license_id}"}}
