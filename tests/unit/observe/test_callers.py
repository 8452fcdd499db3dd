"""Whose callers a model serves."""

from typing import Any

import pytest

from builders import model_deployment
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.names import API_VERSION
from pilothouse.observe.callers import tenants
from pilothouse.observe.store import Store

CALLERS = {"auth": {"apiKeys": {"secretNames": ["keys"]}}}


def quota(name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "TenantQuota",
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
        "spec": {"namespaces": [name], **spec},
    }


@pytest.fixture
def store() -> Store:
    store = Store()
    store.upsert(quota("team-ide", callers=CALLERS))
    store.upsert(quota("team-data", callers=CALLERS))
    store.upsert(quota("team-edge", gpus={"total": 1}))
    return store


def inviting(*names: str, namespace: str = "team-ide") -> ModelDeployment:
    return model_deployment({"route": {"allowTenants": list(names)}}, namespace=namespace)


def test_the_tenant_of_the_namespace_may_call(store: Store) -> None:
    assert tenants(store, inviting()).keys() == {"team-ide"}
    assert tenants(store, model_deployment({"route": None})).keys() == {"team-ide"}


def test_who_is_let_in_may_call_too(store: Store) -> None:
    assert tenants(store, inviting("team-data", "nobody")).keys() == {"team-ide", "team-data"}


def test_a_quota_without_callers_lets_nobody_in(store: Store) -> None:
    assert tenants(store, inviting("team-edge", namespace="team-edge")) == {}


@pytest.mark.parametrize(
    "broken", [{"watts": 5}, {"namespaces": ["team-ide", "A!"]}, {"gpus": {"total": "x"}}]
)
def test_a_quota_that_can_t_be_read_is_there_all_the_same(store: Store, broken: dict[str, Any]) -> None:
    store.upsert(quota("team-ide", 2, **{"callers": CALLERS, **broken}))
    assert tenants(store, inviting()) == {"team-ide": None}


def test_another_tenants_broken_quota_is_no_matter(store: Store) -> None:
    store.upsert(quota("team-data", 2, callers={"auth": {}}))
    assert tenants(store, inviting()).keys() == {"team-ide"}
