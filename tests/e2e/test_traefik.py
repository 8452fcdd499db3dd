"""The second gateway: Traefik serves a model, asks who calls, and holds nothing of a stream back."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from e2e import forward_auth
from e2e.callers import DEADLINE, GATEWAYS, Tenant, status_of
from e2e.engines import RUNNING, counts
from e2e.manifests import fresh_commit, model, model_deployment, route
from e2e.stage import OBJECTIVES, stage
from e2e.team import Team
from e2e.traffic import DONE, ask, events
from harness import traefik
from harness.shell import wait_for
from pilothouse.names import CALLERS, FORWARD_AUTH, Header, RolloutState

NAME = "coder"
# 30 ms a token: a stream is long enough to be looked at while it runs.
SLOW = {"image": "pilothouse.dev/vllm-sim:v0.32.0", "env": [{"name": "VLLM_SIM_DECODE_MS", "value": "30"}]}


@pytest.fixture(scope="module")
def tenant(kubectl: Callable[..., str], team: Team) -> Tenant:
    return Tenant(kubectl, [team.namespace])


@pytest.fixture(scope="module")
def base(kubeconfig: Path) -> Iterator[str]:
    """Where Traefik is called."""
    with traefik.installed(kubeconfig) as found:
        yield found


@pytest.fixture(scope="module")
def url(kubectl: Callable[..., str], base: str, team: Team, tenant: Tenant) -> Iterator[str]:
    """Where the model of a tenant is called, once its caller is served."""
    with ExitStack() as stack:
        stack.callback(tenant.withdraw)
        stack.callback(team.kubectl, "delete", "md", NAME)
        who = {Header.TENANT: tenant.name, Header.USER: "ada"}
        team.apply(*forward_auth.service({tenant.headers()["Authorization"]: who}))
        team.wait("--for=condition=Available", f"deployment/{forward_auth.NAME}")
        asked = f"http://{forward_auth.NAME}.{team.namespace}.svc:{forward_auth.PORT}"
        said = (f"{CALLERS}=ForwardAuth", f"{FORWARD_AUTH}={asked}")
        kubectl("--namespace", GATEWAYS, "annotate", "gateway", traefik.GATEWAY, *said)
        tenant.declare(perTenant={"concurrentRequests": 2})
        way = route(NAME, team.namespace, traefik.GATEWAY)
        team.apply(model_deployment(NAME, team.namespace, team.lane, route=way, engine=SLOW))
        team.wait_ready(NAME)
        served = f"{base}/{team.namespace}/{NAME}/v1"
        wait_for(
            "the caller to be served", lambda: called(served, tenant) == 200, seconds=DEADLINE, pause=0.5
        )
        yield served


def called(url: str, tenant: Tenant | None = None, **headers: str) -> int:
    return asyncio.run(status_of(url, (tenant.headers() if tenant else {}) | headers))


def test_who_shows_no_known_key_is_not_served(url: str) -> None:
    assert called(url) == HTTPStatus.UNAUTHORIZED
    assert called(url, Authorization="Bearer nobodys") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("header", [Header.TENANT, Header.USER, Header.CLIENT])
def test_who_names_itself_is_not_believed(url: str, tenant: Tenant, header: Header) -> None:
    assert called(url, **{header: f"{tenant.name}.ada"}) == HTTPStatus.UNAUTHORIZED
    assert called(url, tenant, **{header: "other.root"}) == HTTPStatus.OK


async def test_tokens_pass_while_the_engine_is_still_generating(url: str, team: Team, tenant: Tenant) -> None:
    [pod] = team.pods(NAME)
    async with (
        aiohttp.ClientSession(headers=tenant.headers()) as http,
        http.post(f"{url}/completions", json=ask(stream=True, max_tokens=256)) as answer,
    ):
        arriving = events(answer)
        await anext(arriving)

        assert (await counts(pod["status"]["podIP"], RUNNING))[RUNNING] == 1
        assert [event async for event in arriving][-1] == DONE


async def test_more_requests_at_a_time_than_the_tenants_are_refused(url: str, tenant: Tenant) -> None:
    async with aiohttp.ClientSession(headers=tenant.headers()) as http:
        asked = [http.post(f"{url}/completions", json=ask(max_tokens=100)) for _ in range(6)]
        answers = await asyncio.gather(*asked)

    assert {answer.status for answer in answers} == {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}
    assert sum(answer.status == HTTPStatus.OK for answer in answers) == 2


@pytest.mark.usefixtures("operator")
async def test_a_rollout_loses_no_request(base: str, kubeconfig: Path) -> None:
    """Traefik answers 503 for the share of a Service without endpoints: no weight comes before them."""
    async with stage(kubeconfig, base, {}, {"objectives": OBJECTIVES}) as made:
        way = route(NAME, made.name, traefik.GATEWAY)
        await made.served(NAME, route=way)
        url = f"{base}/{made.name}/{NAME}/v1"
        # Unlike Envoy Gateway, Traefik does not tell when it knows the pods.
        await asyncio.to_thread(wait_for, "Traefik to serve", lambda: called(url) == HTTPStatus.OK)
        async with made.called(NAME) as calls:
            await calls.until_answered(1)
            await made.declare(NAME, route=way, model=model(fresh_commit()))
            await made.at(NAME, RolloutState.DRAINING)
            await made.rested(NAME)

    assert len(calls.answered) == 2
    assert not calls.lost
