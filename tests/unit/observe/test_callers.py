"""Whose callers a model serves."""

from typing import Any

import pytest

from builders import model_deployment
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.names import API_VERSION
from pilothouse.observe.callers import tenants
from pilothouse.plan.observed import Object

CALLERS = {"auth": {"apiKeys": {"secretNames": ["keys"]}}}


def quota(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "TenantQuota",
        "metadata": {"name": name},
        "spec": {"namespaces": [name], **spec},
    }


QUOTAS = {
    "team-ide": quota("team-ide", callers=CALLERS),
    "team-data": quota("team-data", callers=CALLERS),
    "team-edge": quota("team-edge", gpus={"total": 1}),
}


def served(deployment: ModelDeployment, *changed: Object) -> dict[str, TenantQuota | None]:
    """Return whose callers it serves, of all quotas, some of them changed."""
    known = QUOTAS | {quota["metadata"]["name"]: quota for quota in changed}
    return tenants(known.values(), deployment)


def inviting(*names: str, namespace: str = "team-ide") -> ModelDeployment:
    return model_deployment({"route": {"allowTenants": list(names)}}, namespace=namespace)


def test_the_tenant_of_the_namespace_may_call() -> None:
    assert served(inviting()).keys() == {"team-ide"}
    assert served(model_deployment({"route": None})).keys() == {"team-ide"}


def test_who_is_let_in_may_call_too() -> None:
    assert served(inviting("team-data", "nobody")).keys() == {"team-ide", "team-data"}


def test_a_quota_without_callers_lets_nobody_in() -> None:
    assert served(inviting("team-edge", namespace="team-edge")) == {}


@pytest.mark.parametrize(
    "broken", [{"watts": 5}, {"namespaces": ["team-ide", "A!"]}, {"gpus": {"total": "x"}}]
)
def test_a_quota_that_can_t_be_read_is_there_all_the_same(broken: Object) -> None:
    changed = quota("team-ide", **{"callers": CALLERS, **broken})
    assert served(inviting(), changed) == {"team-ide": None}


def test_another_tenants_broken_quota_is_no_matter() -> None:
    changed = quota("team-data", callers={"auth": {}})
    assert served(inviting(), changed).keys() == {"team-ide"}
