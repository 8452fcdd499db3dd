"""Tokens of identity providers, whose keys a real Envoy Gateway gets over HTTPS from their own servers."""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import jwt
import pytest

from e2e import mirror
from e2e.callers import DEADLINE, Tenant, declare, gateway_with_callers, served_callers, status_of
from e2e.hostile import FORGED
from e2e.issuers import AUDIENCE, ENVOYS, Issuer, Key, trusting
from e2e.manifests import Object, model_deployment, route
from e2e.team import Team
from harness import gateway
from harness.authority import Authority
from harness.kubectl import get
from harness.shell import wait_for
from pilothouse.names import CALLERS, Header

NAME = "coder"
FOLLOWED = 60
"""Seconds within which a key server's change is to be seen; a busy machine is no defect of ours."""
FAILED = re.compile(r"^envoy_http_jwt_authn_jwks_fetch_failed\{.*\} (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Scene:
    """Two tenants of one issuer with a model each, and a guest of another issuer at the second model.

    The first model is behind a Gateway that takes API keys too.
    """

    envoy: Object
    mine: Team
    theirs: Team
    me: str
    them: str
    guest: str
    keyed: Tenant
    login: Issuer
    partner: Issuer
    base: str
    keyed_base: str

    def of(self, team: Team) -> str:
        """Return the base URL of a team's model."""
        return f"{self.base}/{team.namespace}/{NAME}/v1"

    @property
    def keyed_url(self) -> str:
        """Where the first model takes API keys."""
        return f"{self.keyed_base}/{self.mine.namespace}/{NAME}/v1"


@pytest.fixture(scope="module")
def scene(
    kubectl: Callable[..., str],
    kubeconfig: Path,
    teams: Callable[[], Team],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    mine, theirs = teams(), teams()
    authority = Authority(tmp_path_factory.mktemp("authority"))
    login, partner = Issuer(mine, "login", authority), Issuer(mine, "partner", authority)
    me, them, guest = (f"{name}-{mine.namespace}" for name in ("me", "them", "guest"))
    keyed = Tenant(kubectl)
    with ExitStack() as stack:
        for issuer in (login, partner):
            issuer.start()
        proxy = stack.enter_context(trusting(kubectl, authority))
        tokens = gateway_with_callers(kubeconfig, kubectl, {CALLERS: "JWT"}, proxy)
        name, base = stack.enter_context(tokens)
        keys, keyed_base = stack.enter_context(gateway_with_callers(kubeconfig, kubectl))
        keyed.declare()
        stack.callback(keyed.withdraw)
        # Of one issuer, and yet not for the same audiences.
        declare(kubectl, me, [mine.namespace], {"auth": login.auth("chat", AUDIENCE)})
        declare(kubectl, them, [theirs.namespace], {"auth": login.auth(AUDIENCE)})
        declare(kubectl, guest, [guest], {"auth": partner.auth()})
        stack.callback(kubectl, "delete", "tenantquota", me, them, guest)
        for team, invited, gateways in ((mine, keyed.name, (name, keys)), (theirs, guest, (name,))):
            way = route(NAME, team.namespace) | {"allowTenants": [invited]}
            way["parentRefs"] = [{"name": each, "namespace": "gateways"} for each in gateways]
            team.apply(model_deployment(NAME, team.namespace, team.lane, route=way))
            stack.callback(team.kubectl, "delete", "md", NAME, "--wait=false")
        envoys = get(kubeconfig, "pods", f"--namespace={ENVOYS}", f"--selector={gateway.selector(name)}")
        made = Scene(envoys[0], mine, theirs, me, them, guest, keyed, login, partner, base, keyed_base)
        for team in (mine, theirs):
            team.wait_ready(NAME)
        wait_served("the issuer's tenant", made.of(mine), bearer(login.token(me)))
        wait_served("the issuer's other tenant", made.of(theirs), bearer(login.token(them)))
        wait_served("the other issuer's tenant", made.of(theirs), bearer(partner.token(guest)))
        wait_served("who has a key", made.keyed_url, keyed.headers())
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def called(url: str, token: str = "", **headers: str) -> int:
    return asyncio.run(status_of(url, (bearer(token) if token else {}) | headers))


def wait_served(who: str, url: str, shown: dict[str, str]) -> None:
    def is_served() -> bool:
        return called(url, **shown) == HTTPStatus.OK

    wait_for(f"{who} to be served", is_served, seconds=DEADLINE, pause=0.5)


def test_a_good_token_names_tenant_and_user(scene: Scene) -> None:
    assert called(scene.of(scene.mine), scene.login.token(scene.me, "bob")) == HTTPStatus.OK
    assert (scene.me, "bob") in served_callers(scene.mine, NAME)


BAD: dict[str, Callable[[Scene], str]] = {
    "none": lambda _: "",
    "no token": lambda _: "nobodys",
    "forged": lambda scene: scene.login.token(scene.me, key=Key(scene.login.key.name)),
    "unsigned": lambda scene: jwt.encode(
        jwt.decode(scene.login.token(scene.me), options={"verify_signature": False}), None, "none"
    ),
    "unknown key": lambda scene: scene.login.token(scene.me, key=Key()),
    "another issuer's key": lambda scene: scene.login.token(scene.me, key=scene.partner.key),
    "wrong issuer": lambda scene: scene.login.token(scene.me, iss="https://login.example.com"),
    "expired": lambda scene: scene.login.token(scene.me, exp=int(time.time()) - 120),
    "not yet valid": lambda scene: scene.login.token(scene.me, nbf=int(time.time()) + 120),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_token_is_not_served(scene: Scene, bad: str) -> None:
    assert called(scene.of(scene.mine), BAD[bad](scene)) == HTTPStatus.UNAUTHORIZED


def test_a_tenant_that_a_model_does_not_let_in_is_forbidden(scene: Scene) -> None:
    assert called(scene.of(scene.theirs), scene.login.token(scene.me)) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), scene.login.token(scene.them)) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), scene.partner.token(scene.guest)) == HTTPStatus.FORBIDDEN


def test_a_token_may_claim_no_tenant_of_another_issuer_and_none_that_there_is_not(scene: Scene) -> None:
    assert called(scene.of(scene.mine), scene.partner.token(scene.me)) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), scene.login.token("nobody")) == HTTPStatus.FORBIDDEN


def test_a_token_is_taken_for_the_audiences_of_its_tenant_alone(scene: Scene) -> None:
    assert called(scene.of(scene.mine), scene.login.token(scene.me, aud="chat")) == HTTPStatus.OK
    assert (
        called(scene.of(scene.theirs), scene.login.token(scene.them, aud=["chat", "models"])) == HTTPStatus.OK
    )
    assert called(scene.of(scene.theirs), scene.login.token(scene.them, aud="chat")) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), scene.login.token(scene.me, aud="mail")) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("forged", [line.partition(": ") for line in FORGED], ids=lambda line: line[0])
def test_a_forged_header_changes_neither_who_calls_nor_what_is_served(
    scene: Scene, forged: tuple[str, str, str]
) -> None:
    header, _, value = forged
    forgery = {header: value.replace("other", scene.them)}
    token = scene.login.token(scene.me)

    assert called(scene.of(scene.theirs), token, **forgery) == HTTPStatus.FORBIDDEN
    assert called(scene.of(scene.mine), **forgery) == HTTPStatus.UNAUTHORIZED
    assert called(scene.of(scene.mine), token, **forgery) == HTTPStatus.OK
    assert served_callers(scene.mine, NAME) <= {
        (scene.me, "ada"),
        (scene.me, "bob"),
        (scene.keyed.name, "ada"),
    }


def test_the_engine_is_told_who_calls_and_not_the_token(scene: Scene) -> None:
    path = mirror.stand_in(scene.mine, NAME)
    token = scene.login.token(scene.me)
    wait_for("the mirror", lambda: seen_by(f"{scene.base}{path}", token), seconds=DEADLINE, pause=0.5)
    seen = seen_by(f"{scene.base}{path}", token)

    assert (seen[Header.TENANT], seen[Header.USER]) == (scene.me, "ada")
    assert token not in str(seen)
    assert "authorization" not in seen


def seen_by(url: str, token: str) -> dict[str, str]:
    asked = urllib.request.Request(url, b"{}", bearer(token))  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return dict(json.load(answer))
    except OSError:
        return {}


def test_a_token_stands_in_no_log(scene: Scene, kubectl: Callable[..., str]) -> None:
    token = scene.login.token(scene.me)
    [pod] = scene.mine.pods(NAME)

    assert called(scene.of(scene.mine), token) == HTTPStatus.OK
    assert token not in scene.mine.kubectl("logs", pod["metadata"]["name"], "--all-containers")
    assert token not in kubectl(
        "--namespace", ENVOYS, "logs", scene.envoy["metadata"]["name"], "--all-containers"
    )


def test_a_token_in_the_query_is_none(scene: Scene) -> None:
    url, token = scene.of(scene.mine), scene.login.token(scene.me)
    assert asyncio.run(status_of(url, access_token=token)) == HTTPStatus.UNAUTHORIZED


@pytest.fixture(scope="module")
def old_key(scene: Scene) -> Key:
    """The key that one key server has replaced, once that is followed and the other server is missed."""
    failed = failed_fetches(scene)
    old = scene.login.rotate()
    scene.partner.stop()

    def is_seen() -> bool:
        followed = called(scene.of(scene.mine), scene.login.token(scene.me)) == HTTPStatus.OK
        return followed and failed_fetches(scene) > failed

    wait_for("Envoy to ask the key servers again", is_seen, seconds=FOLLOWED, pause=0.5)
    return old


def failed_fetches(scene: Scene) -> int:
    """Count how often Envoy got no keys."""
    url = f"http://{scene.envoy['status']['podIP']}:19001/stats/prometheus"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return sum(int(count) for count in FAILED.findall(answer.read().decode()))


def test_what_a_key_server_withdraws_is_a_key_no_longer(scene: Scene, old_key: Key) -> None:
    url = scene.of(scene.mine)

    assert called(url, scene.login.token(scene.me, key=old_key)) == HTTPStatus.UNAUTHORIZED
    assert called(url, scene.login.token(scene.me)) == HTTPStatus.OK


@pytest.mark.usefixtures("old_key")
def test_a_key_server_that_is_away_harms_nobody(scene: Scene) -> None:
    assert called(scene.of(scene.theirs), scene.login.token(scene.them)) == HTTPStatus.OK
    assert called(scene.keyed_url, **scene.keyed.headers()) == HTTPStatus.OK
    assert called(scene.of(scene.theirs), scene.partner.token(scene.guest)) == HTTPStatus.OK
