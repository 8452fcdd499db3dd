"""Who may call what, and how much, behind a real Envoy Gateway that asks for API keys."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from e2e.callers import (
    DEADLINE,
    Tenant,
    enforcement,
    gateway_with_callers,
    policies_of,
    served_callers,
    status_of,
)
from e2e.hostile import FORGED
from e2e.manifests import model_deployment, route
from e2e.team import Team
from e2e.traffic import steady
from harness.shell import wait_for

NAME = "coder"
FREQUENT = 20
"""Requests in a row, far more than twice the limit: a minute may turn between them."""
LIMIT = 4
LIMITS = ("perUser", "perTenant")


@dataclass(frozen=True)
class Scene:
    """Two tenants with a model each, behind one Gateway; the second model lets in guests too."""

    kubectl: Callable[..., str]
    gateway: str
    url: str
    mine: Team
    theirs: Team
    me: Tenant
    them: Tenant
    guest: Tenant
    limited: Mapping[str, Tenant]
    """Guests by the limit that they have."""

    def of(self, team: Team) -> str:
        """Return the base URL of a team's model."""
        return f"{self.url}/{team.namespace}/{NAME}/v1"


@pytest.fixture(scope="module")
def scene(kubectl: Callable[..., str], kubeconfig: Path, teams: Callable[[], Team]) -> Iterator[Scene]:
    mine, theirs = teams(), teams()
    with gateway_with_callers(kubeconfig, kubectl) as (gateway, url):
        me, them = (Tenant(kubectl, [team.namespace]) for team in (mine, theirs))
        guest, limited = Tenant(kubectl), {kind: Tenant(kubectl, users=("ada", "bob")) for kind in LIMITS}
        tenants = (me, them, guest, *limited.values())
        for tenant in (me, them, guest):
            tenant.declare()
        for kind, tenant in limited.items():
            tenant.declare(**{kind: {"requestsPerMinute": LIMIT}})
        guests = [guest.name, *(tenant.name for tenant in limited.values())]
        for team, invited in ((mine, []), (theirs, guests)):
            way = route(NAME, team.namespace, gateway) | {"allowTenants": invited}
            team.apply(model_deployment(NAME, team.namespace, team.lane, route=way))
        made = Scene(kubectl, gateway, url, mine, theirs, me, them, guest, limited)
        for team, tenant in ((mine, me), (theirs, them), (theirs, guest)):
            team.wait_ready(NAME)
            wait_until(HTTPStatus.OK, made.of(team), tenant)
        yield made
        for tenant in tenants:
            tenant.withdraw()
        for team in (mine, theirs):
            team.kubectl("delete", "md", NAME, "--wait=false")


def called(url: str, tenant: Tenant | None = None, user: str = "ada", **headers: str) -> int:
    shown = tenant.headers(user) if tenant else {}
    return asyncio.run(status_of(url, shown | headers))


def wait_until(status: int, url: str, tenant: Tenant, user: str = "ada") -> None:
    wait_for(
        f"{tenant.name} to be answered {status}",
        lambda: called(url, tenant, user) == status,
        seconds=DEADLINE,
        pause=0.5,
    )


def test_the_right_key_is_served(scene: Scene) -> None:
    assert called(scene.of(scene.mine), scene.me) == HTTPStatus.OK


def test_no_key_and_a_wrong_key_are_not_served(scene: Scene) -> None:
    url = scene.of(scene.mine)

    assert called(url) == HTTPStatus.UNAUTHORIZED
    assert called(url, Authorization="Bearer nobodys") == HTTPStatus.UNAUTHORIZED


def test_another_tenants_model_is_forbidden(scene: Scene) -> None:
    assert called(scene.of(scene.theirs), scene.me) == HTTPStatus.FORBIDDEN


def test_a_tenant_that_the_route_allows_is_served_beside_the_models_own(scene: Scene) -> None:
    assert called(scene.of(scene.theirs), scene.guest) == HTTPStatus.OK
    assert called(scene.of(scene.theirs), scene.them) == HTTPStatus.OK
    assert called(scene.of(scene.mine), scene.guest) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("forged", [line.partition(": ") for line in FORGED], ids=lambda line: line[0])
def test_a_forged_header_changes_neither_who_calls_nor_what_is_served(
    scene: Scene, forged: tuple[str, str, str]
) -> None:
    header, _, value = forged
    value = value.replace("other", scene.them.name)

    assert called(scene.of(scene.theirs), scene.me, **{header: value}) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), **{header: value}) == HTTPStatus.UNAUTHORIZED
    assert called(scene.of(scene.mine), scene.me, **{header: value}) == HTTPStatus.OK
    assert served_callers(scene.mine, NAME) == {(scene.me.name, "ada")}


def test_a_key_is_not_told_to_the_engine_or_the_log(scene: Scene) -> None:
    key = scene.me.headers()["Authorization"].removeprefix("Bearer ")
    [pod] = scene.mine.pods(NAME)

    assert called(scene.of(scene.mine), scene.me) == HTTPStatus.OK
    assert key not in scene.mine.kubectl("logs", pod["metadata"]["name"], "--container=engine")


@pytest.mark.parametrize("kind", LIMITS)
def test_more_requests_than_a_minutes_are_refused_and_nobody_elses(scene: Scene, kind: str) -> None:
    url, tenant = scene.of(scene.theirs), scene.limited[kind]
    wait_until(HTTPStatus.OK, url, tenant)
    statuses = [called(url, tenant) for _ in range(FREQUENT)]
    of_another = called(url, tenant, "bob")

    assert set(statuses) <= {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}
    assert statuses.count(HTTPStatus.OK) <= 2 * LIMIT
    assert of_another == (HTTPStatus.OK if kind == "perUser" else HTTPStatus.TOO_MANY_REQUESTS)
    assert called(url, scene.them) == HTTPStatus.OK


def invite(scene: Scene, tenant: Tenant) -> None:
    """Let a tenant call the second model: a Gateway learns the keys of those who may call something."""
    invited = [{"op": "add", "path": "/spec/route/allowTenants/-", "value": tenant.name}]
    scene.theirs.kubectl("patch", "md", NAME, "--type=json", f"--patch={json.dumps(invited)}")


def test_a_tenant_that_comes_and_goes_costs_another_no_request(scene: Scene) -> None:
    newcomer = Tenant(scene.kubectl)

    async def come_and_go() -> list[str]:
        async with steady(scene.of(scene.mine), rate=10, headers=scene.me.headers()) as calling:
            await asyncio.to_thread(newcomer.declare)
            await asyncio.to_thread(invite, scene, newcomer)
            await asyncio.to_thread(wait_until, HTTPStatus.FORBIDDEN, scene.of(scene.mine), newcomer)
            await asyncio.to_thread(newcomer.withdraw)
            await asyncio.to_thread(wait_until, HTTPStatus.UNAUTHORIZED, scene.of(scene.mine), newcomer)
            await calling.until_answered(20)
        return calling.lost

    assert not asyncio.run(come_and_go())


def test_the_status_tells_where_each_limit_is_held(scene: Scene) -> None:
    limits = ("perTenant.requestsPerMinute", "perTenant.outputTokensPerMinute", "perUser.concurrentRequests")
    scene.guest.limit(
        perTenant={"requestsPerMinute": 6000, "outputTokensPerMinute": 10_000},
        perUser={"concurrentRequests": 4},
    )

    def all_are_held() -> bool:
        told = enforcement(scene.guest)
        return all(limit in told and told[limit]["enforced"] for limit in limits)

    wait_for("the status to tell of every limit", all_are_held, seconds=DEADLINE, pause=0.5)


def test_what_the_last_tenant_leaves_behind_is_removed(
    kubectl: Callable[..., str], kubeconfig: Path, teams: Callable[[], Team]
) -> None:
    team = teams()
    with gateway_with_callers(kubeconfig, kubectl) as (gateway, url):
        tenant = Tenant(kubectl, [team.namespace])
        tenant.declare()
        way = route(NAME, team.namespace, gateway)
        team.apply(model_deployment(NAME, team.namespace, team.lane, route=way))
        team.wait_ready(NAME)
        wait_until(HTTPStatus.OK, f"{url}/{team.namespace}/{NAME}/v1", tenant)
        assert policies_of(kubectl, gateway)

        tenant.withdraw()
        wait_for("the policies to go", lambda: not policies_of(kubectl, gateway), seconds=DEADLINE, pause=0.5)
