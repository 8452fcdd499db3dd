"""With Envoy's ratelimit service and Redis, a tenant's minute is one minute for all of its models together.

Envoy Gateway is restarted for it, so no other tests may wait for their routes meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from e2e.callers import DEADLINE, Tenant, enforcement, gateway_with_callers, status_of
from e2e.manifests import model_deployment, route
from e2e.team import Team
from harness import rate_limits
from harness.shell import wait_for
from pilothouse.names import RATE_LIMITS

pytestmark = pytest.mark.alone

MODELS = ("one", "two")
PER_MINUTE = 10
RATE = "perTenant.requestsPerMinute"
SECONDS_LEFT = 40
"""Of the minute of the clock, when the requests begin: enough for all of them."""


@pytest.fixture(scope="module")
def tenant(kubectl: Callable[..., str], team: Team) -> Tenant:
    return Tenant(kubectl, [team.namespace])


@pytest.fixture(scope="module")
def urls(kubectl: Callable[..., str], kubeconfig: Path, team: Team, tenant: Tenant) -> Iterator[list[str]]:
    """Where the tenant's two models are called."""
    with ExitStack() as stack:
        stack.enter_context(rate_limits.installed(kubeconfig))
        together = {RATE_LIMITS: "Global"}
        gateway, base = stack.enter_context(gateway_with_callers(kubeconfig, kubectl, together))
        stack.callback(tenant.withdraw)
        tenant.declare(perTenant={"requestsPerMinute": PER_MINUTE})
        for name in MODELS:
            way = route(name, team.namespace, gateway)
            team.apply(model_deployment(name, team.namespace, team.lane, route=way))
        team.wait_ready(*MODELS)
        made = [f"{base}/{team.namespace}/{name}/v1" for name in MODELS]
        for url in made:
            wait_served(url, tenant)
        yield made


def wait_served(url: str, tenant: Tenant) -> None:
    def is_served() -> bool:
        return called(url, tenant) == HTTPStatus.OK

    wait_for("the tenant to be served", is_served, seconds=DEADLINE, pause=1)


def called(url: str, tenant: Tenant) -> int:
    return asyncio.run(status_of(url, tenant.headers()))


def test_the_status_says_that_the_gateway_holds_the_rate(urls: list[str], tenant: Tenant) -> None:
    def where() -> str:
        return str(enforcement(tenant).get(RATE, {}).get("where"))

    assert urls
    wait_for("the gateway to hold the rate", lambda: where() == "Gateway", seconds=DEADLINE, pause=0.5)


def test_a_minutes_requests_are_counted_over_all_models(urls: list[str], tenant: Tenant) -> None:
    def has_begun() -> bool:
        return time.time() % 60 < 60 - SECONDS_LEFT

    wait_for("the minute to have begun long ago", lambda: not has_begun(), seconds=61)
    wait_for("a minute to begin", has_begun, seconds=61)
    statuses = [called(url, tenant) for _ in range(PER_MINUTE) for url in urls]

    assert statuses.count(HTTPStatus.OK) == PER_MINUTE
    assert statuses.count(HTTPStatus.TOO_MANY_REQUESTS) == PER_MINUTE
