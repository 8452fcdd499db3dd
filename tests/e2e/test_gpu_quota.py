"""The GPUs of a TenantQuota: who waits says so and goes on when there is room, and who serves is let be."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.manifests import SMALL, Object
from e2e.team import DEADLINE, Team
from harness.shell import wait_for

ONE_GPU = SMALL | {"gpu": {"count": 1}}
QUOTA_RESERVED = "QuotaReserved"


@pytest.fixture
def quota(team: Team, kubectl: Callable[..., str]) -> Iterator[Callable[[int], None]]:
    """`quota(n)` limits the team to so many GPUs."""

    def limit(gpus: int) -> None:
        declared = {
            "apiVersion": "pilothouse.dev/v1alpha1",
            "kind": "TenantQuota",
            "metadata": {"name": team.namespace},
            "spec": {"namespaces": [team.namespace], "gpus": {"total": gpus}},
        }
        kubectl("apply", "--validate=strict", "--filename=-", input=json.dumps(declared))

    yield limit
    team.kubectl("delete", "md", "--all", "--wait=false")
    kubectl("delete", "tenantquota", team.namespace)


def declare(team: Team, name: str, **spec: Any) -> None:
    team.apply(team.model(name, resources=ONE_GPU, **spec))


def queue(team: Team) -> list[tuple[str, int]]:
    """Who waits for the tenant's GPUs, and at which place."""
    waiting = team.get("tenantquota", team.namespace).get("status", {}).get("waiting", [])
    return [(entry["name"], entry["position"]) for entry in waiting]


def is_held_back(team: Team, name: str) -> bool:
    conditions = team.get("md", name).get("status", {}).get("conditions", [])
    return any(entry["type"] == QUOTA_RESERVED and entry["status"] == "False" for entry in conditions)


def wait_held_back(team: Team, *names: str) -> None:
    for name in names:
        wait_for(f"{name} to be held back", lambda name=name: is_held_back(team, name), seconds=DEADLINE)


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_the_second_model_waits_in_line_and_goes_on_when_the_first_gives_its_gpu_back(
    team: Team, quota: Callable[[int], None]
) -> None:
    quota(1)
    declare(team, "first")
    team.wait_ready("first")
    declare(team, "second")
    wait_held_back(team, "second")
    wait_for("the queue to tell", lambda: queue(team) == [("second", 1)], seconds=DEADLINE)

    assert not team.pods("second")
    assert "position 1" in team.condition("second", QUOTA_RESERVED)["message"]

    team.kubectl("scale", "md/first", "--replicas=0")
    team.wait_ready("second")
    assert not team.pods("first")
    wait_for("the queue to be empty", lambda: not queue(team), seconds=DEADLINE)


def test_a_lowered_limit_takes_nothing_away_and_admits_nothing_new(
    team: Team, quota: Callable[[int], None]
) -> None:
    quota(2)
    declare(team, "one")
    declare(team, "two")
    team.wait_ready("one", "two")
    serving = uids(team.pods("one") + team.pods("two"))

    quota(1)
    declare(team, "three")
    wait_held_back(team, "three")

    assert uids(team.pods("one") + team.pods("two")) == serving
    assert not team.pods("three")


def test_scaling_past_the_limit_holds_at_the_limit_and_says_so(
    team: Team, quota: Callable[[int], None]
) -> None:
    quota(1)
    declare(team, "grown")
    team.wait_ready("grown")
    serving = uids(team.pods("grown"))

    team.kubectl("scale", "md/grown", "--replicas=3")
    wait_held_back(team, "grown")

    assert uids(team.pods("grown")) == serving
