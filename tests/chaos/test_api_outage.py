"""The API server is away for half a minute: what serves goes on serving, and the operator survives."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from e2e.installed import Operator
from e2e.manifests import OTHER_COMMIT, Object, model
from e2e.team import Team
from e2e.traffic import Load, load
from harness import cluster
from harness.shell import HarnessError, wait_for

pytestmark = pytest.mark.alone

OUTAGE_SECONDS = 30
SERVER = "kube-apiserver"
NAME = "served"


@dataclass(frozen=True)
class Outage:
    """What an outage did to those who called meanwhile, and to the operator's containers."""

    load: Load
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def team(teams: Callable[[], Team]) -> Team:
    made = teams()
    made.apply(made.model(NAME))
    made.wait_ready(NAME)
    return made


@pytest.fixture(scope="module")
def outage(team: Team, operator: Operator, gateway_url: str) -> Outage:
    """Callers go on calling while the API server is away."""
    if SERVER not in cluster.status():
        pytest.skip("only the harness's own cluster has an API server that can be stopped")

    async def endure() -> Load:
        async with load(f"{gateway_url}/{team.namespace}/{NAME}/v1") as running:
            await asyncio.to_thread(stop_for_a_while)
        return running

    before = operator.containers()
    return Outage(asyncio.run(endure()), before, operator.containers())


def stop_for_a_while() -> None:
    cluster.stop_component(SERVER)
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        cluster.start_component(SERVER)


def is_taken(team: Team, obj: Object) -> bool:
    """Apply an object; an API server that has just begun refuses it until it knows LicensePolicies."""
    try:
        team.apply(obj)
    except HarnessError as error:
        if "failed to find resource referenced by paramKind" not in str(error):
            raise
        return False
    return True


def test_an_outage_of_the_api_server_costs_no_request(outage: Outage) -> None:
    assert outage.load.served > OUTAGE_SECONDS
    assert not outage.load.lost


def test_an_outage_of_the_api_server_restarts_no_operator(outage: Outage) -> None:
    assert outage.before == outage.after


@pytest.mark.usefixtures("outage")
def test_after_an_outage_the_operator_catches_up(team: Team) -> None:
    team.kubectl("delete", "service", team.child(NAME), "--wait=false")
    changed = team.model(NAME, model=model(OTHER_COMMIT))
    wait_for("the API server to know LicensePolicies again", lambda: is_taken(team, changed))

    team.wait_ready(NAME)

    assert team.get("md", NAME)["status"]["stable"]["checkpointRevision"] == OTHER_COMMIT
