"""What legal forbids is not served: a LicensePolicy decides on every model of the cluster."""

import json
from collections.abc import Callable, Iterator

import pytest

from e2e.manifests import COMMIT, Object, model, model_deployment
from e2e.team import Team
from pilothouse.names import API_VERSION, Reason

FORBIDDEN = "LicenseRef-Pilothouse-Test-Forbidden"
GATED = "LicenseRef-Pilothouse-Test-Gated"


@pytest.fixture(autouse=True)
def _policy(kubectl: Callable[..., str], team: Team) -> Iterator[None]:
    """A policy that lets through everything but the two ids of this file."""
    rules = [
        {"ids": [FORBIDDEN], "decision": "Deny", "reason": "non-commercial"},
        {"ids": [GATED], "decision": "RequireApproval", "reason": "hosted use counts as distribution"},
    ]
    policy = _cluster_object("LicensePolicy", team.namespace, {"default": "Allow", "rules": rules})
    kubectl("apply", "--filename=-", input=json.dumps(policy))
    yield
    kubectl("delete", f"licensepolicy/{team.namespace}")


def test_a_denied_license_gets_nothing_and_is_named(team: Team) -> None:
    team.apply(model_deployment("forbidden", team.namespace, team.lane, model=_licensed(FORBIDDEN)))
    team.wait_reason("forbidden", Reason.LICENSE_DENIED)

    assert "non-commercial" in team.condition("forbidden", "LicenseAccepted")["message"]
    assert not team.children("forbidden")


def test_an_approval_of_this_very_revision_opens_the_gate(kubectl: Callable[..., str], team: Team) -> None:
    team.apply(model_deployment("gated", team.namespace, team.lane, model=_licensed(GATED)))
    team.wait_reason("gated", Reason.LICENSE_APPROVAL_REQUIRED)
    assert not team.children("gated")

    approval = {
        "licenseID": GATED,
        "checkpoint": model()["checkpoint"]["source"],
        "revision": COMMIT,
        "ticket": "LEGAL-1",
        "expires": "2999-01-01T00:00:00Z",
    }
    document = _cluster_object("LicenseApproval", team.namespace, approval)
    kubectl("apply", "--filename=-", input=json.dumps(document))

    team.wait_ready("gated")
    assert team.condition("gated", "LicenseAccepted")["reason"] == Reason.LICENSE_APPROVED
    kubectl("delete", f"licenseapproval/{team.namespace}")


def _licensed(license_id: str) -> Object:
    return model() | {"license": {"id": license_id}}


def _cluster_object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
