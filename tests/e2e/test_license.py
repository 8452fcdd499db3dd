"""What legal forbids is not served: a LicensePolicy decides on every model of the cluster."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.legal import FORBIDDEN, FORBIDS, GATED, GATES, OPEN, Legal, licensed
from e2e.manifests import model, model_deployment
from e2e.team import Team
from harness.shell import HarnessError, wait_for
from pilothouse.names import LICENSE_ID, Reason

Object = dict[str, Any]


@pytest.fixture
def legal(kubectl: Callable[..., str], team: Team) -> Iterator[Legal]:
    """A policy that lets through everything but the ids of this file."""
    legal = Legal(kubectl, team.namespace)
    legal.rule(FORBIDS, GATES)
    yield legal
    team.kubectl("delete", "md", "--all")
    legal.withdraw_policy()
    legal.withdraw_approval()


def declared(team: Team, name: str, license_id: str, **spec: Any) -> Object:
    """A model under its own license and this one."""
    return model_deployment(name, team.namespace, team.lane, model=licensed(license_id), **spec)


def seen(team: Team, name: str) -> None:
    """Wait until the operator has looked at what the spec asks for now."""
    generation = team.get("md", name)["metadata"]["generation"]
    team.wait(f"--for=jsonpath={{.status.observedGeneration}}={generation}", f"md/{name}")


@pytest.mark.usefixtures("legal")
def test_a_denied_license_is_refused_when_it_is_written(team: Team) -> None:
    forbidden = model() | {"license": {"id": FORBIDDEN}}
    document = json.dumps(model_deployment("forbidden", team.namespace, team.lane, model=forbidden))

    def refusal() -> str:
        try:
            team.kubectl("apply", "--dry-run=server", "--filename=-", stdin=document)
        except HarnessError as refused:
            return str(refused)
        return ""

    wait_for("the API server to have heard of the policy", lambda: bool(refusal()))
    assert f"LicensePolicy {team.namespace}" in refusal()
    assert "non-commercial" in refusal()


@pytest.mark.usefixtures("legal")
def test_a_denied_part_of_an_expression_gets_nothing_whatever_its_labels_say(team: Team) -> None:
    forbidden = declared(team, "forbidden", FORBIDDEN)
    forbidden["metadata"] |= {"labels": {LICENSE_ID: "MIT"}, "annotations": {LICENSE_ID: "MIT"}}
    team.apply(forbidden)
    team.wait_reason("forbidden", Reason.LICENSE_DENIED)
    assert "non-commercial" in team.condition("forbidden", "LicenseAccepted")["message"]

    team.kubectl("scale", "md/forbidden", "--replicas=3")
    seen(team, "forbidden")
    assert not team.children("forbidden")
    assert team.pods_ever_made("forbidden") == 0


@pytest.mark.usefixtures("legal")
def test_an_edit_to_a_denied_license_leaves_what_serves_and_starts_nothing(team: Team) -> None:
    team.apply(declared(team, "edited", OPEN))
    team.wait_ready("edited")
    [pod] = team.pods("edited")

    team.apply(declared(team, "edited", FORBIDDEN))
    team.wait_reason("edited", Reason.LICENSE_DENIED)
    assert [each["metadata"]["uid"] for each in team.pods("edited")] == [pod["metadata"]["uid"]]
    assert team.pods_ever_made("edited") == 1


def test_an_approval_of_this_very_revision_opens_the_gate(legal: Legal, team: Team) -> None:
    team.apply(declared(team, "gated", GATED))
    team.wait_reason("gated", Reason.LICENSE_APPROVAL_REQUIRED)
    assert not team.children("gated")

    legal.approve(GATED)
    team.wait_ready("gated")
    assert team.condition("gated", "LicenseAccepted")["reason"] == Reason.LICENSE_APPROVED
    shown = team.get("md", "gated")["status"]["license"]
    assert (shown["approval"], shown["ticket"]) == (team.namespace, "LEGAL-1")


def test_a_policy_that_becomes_stricter_lets_nothing_grow(legal: Legal, team: Team) -> None:
    team.apply(declared(team, "served", OPEN))
    team.wait_ready("served")
    [pod] = team.pods("served")

    legal.rule({"ids": [OPEN], "decision": "Deny", "reason": "terms have changed"})
    team.wait_reason("served", Reason.LICENSE_DENIED)
    team.kubectl("scale", "md/served", "--replicas=3")
    seen(team, "served")

    assert [each["metadata"]["uid"] for each in team.pods("served")] == [pod["metadata"]["uid"]]
    assert team.pods_ever_made("served") == 1
    [deployment] = team.all("deployments", "pilothouse.dev/deployment=served")
    assert deployment["spec"]["replicas"] == 1


def test_a_policy_that_drains_and_goes_leaves_closed_what_it_closed(legal: Legal, team: Team) -> None:
    team.apply(declared(team, "drained", OPEN))
    team.wait_ready("drained")

    legal.rule({"ids": [OPEN], "decision": "Deny", "reason": "terms have changed"}, on_violation="Drain")
    wait_for("all of it to be stopped", lambda: not team.children("drained"), seconds=120)

    legal.withdraw_policy()
    team.wait_reason("drained", Reason.LICENSE_POLICY_MISSING)
    team.kubectl("scale", "md/drained", "--replicas=2")
    seen(team, "drained")
    assert not team.children("drained")
    assert team.pods_ever_made("drained") == 1

    legal.rule({"ids": ["Apache-2.0", OPEN], "decision": "Allow"})
    team.wait_ready("drained")
