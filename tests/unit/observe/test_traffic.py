"""Who calls what through which Gateway, from the Store, and whom a change of it concerns."""

from typing import Any

import pytest

from builders import gateway, manifest, merged
from pilothouse.observe.store import Store
from pilothouse.observe.traffic import traffic
from pilothouse.plan.observed import Object, ObjectKey, key_of

MODEL = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
GATEWAY = ObjectKey("Gateway", "gateways", "models")
QUOTA = ObjectKey("TenantQuota", "", "team-ide")
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"

CLASS = {"kind": "GatewayClass", "metadata": {"name": "envoy"}, "spec": {"controllerName": CONTROLLER}}
LANE = {
    "kind": "QueueClass",
    "metadata": {"name": "completion"},
    "spec": {"requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"}},
}


def front(**spec: Any) -> Object:
    """The Gateway `models`."""
    return merged(gateway(), {"metadata": {"uid": "g1"}, "spec": {"gatewayClassName": "envoy", **spec}})


def quota(name: str = "team-ide", **spec: Any) -> Object:
    """A TenantQuota with callers."""
    callers = {"auth": {"apiKeys": {"secretNames": ["keys"]}}}
    spec = {"namespaces": [name], "callers": callers, **spec}
    return {"kind": "TenantQuota", "metadata": {"name": name, "uid": "q1"}, "spec": spec}


def policy(**labels: str) -> Object:
    """A SecurityPolicy that lies beside the Gateway."""
    owner = {"kind": "Gateway", "name": "models", "uid": "g1", "controller": True}
    said = {"app.kubernetes.io/managed-by": "pilothouse", **labels}
    metadata = {"name": "p", "namespace": "gateways", "labels": said, "ownerReferences": [owner]}
    return {"kind": "SecurityPolicy", "metadata": metadata, "spec": {}}


@pytest.fixture
def store() -> Store:
    """A model behind a Gateway, its tenant, and what lies beside the Gateway."""
    return filled(manifest(), front(), CLASS, LANE, quota(), policy())


def filled(*objects: Object) -> Store:
    """A Store that has these objects."""
    made = Store()
    for version, obj in enumerate(objects, start=1):
        made.upsert(merged(obj, {"metadata": {"resourceVersion": str(version)}}))
    return made


def test_all_that_decides_about_callers_is_found(store: Store) -> None:
    seen = traffic(store)

    assert seen.controllers == {GATEWAY: CONTROLLER}
    assert list(seen.parts[GATEWAY]) == [key_of(policy())]
    assert [(model.key, model.lane, model.gateways) for model in seen.models] == [
        (MODEL, "completion", (GATEWAY,))
    ]
    assert [tenant.name for tenant in seen.use(GATEWAY).tenants] == ["team-ide"]
    assert seen.input_tokens == {"completion": 8192}


def test_a_policy_of_somebody_elses_is_not_taken_for_ours() -> None:
    foreign = policy(**{"app.kubernetes.io/managed-by": "helm"})
    assert traffic(filled(front(), foreign)).parts == {GATEWAY: {}}


def test_a_class_that_is_gone_leaves_a_gateway_without_a_controller() -> None:
    assert traffic(filled(front())).controllers == {GATEWAY: ""}


def test_what_an_older_schema_stored_grants_nothing_and_breaks_nothing() -> None:
    seen = traffic(filled(front(), manifest(), quota(unknown=1), merged(LANE, {"spec": {"unknown": 1}})))
    assert (seen.quotas, seen.input_tokens) == ((), {})


@pytest.mark.parametrize("key", [key_of(CLASS), key_of(LANE), key_of(quota()), key_of(manifest())])
def test_what_decides_about_callers_concerns_the_gateway(store: Store, key: ObjectKey) -> None:
    assert GATEWAY in store.affected_by(key)


@pytest.mark.parametrize("key", [key_of(policy()), GATEWAY, key_of(CLASS)])
def test_what_a_gateway_can_do_concerns_the_models_behind_it_and_all_tenants(
    store: Store, key: ObjectKey
) -> None:
    assert {GATEWAY, MODEL, QUOTA} <= store.affected_by(key) | {GATEWAY}


def test_a_model_concerns_the_gateway_that_it_leaves(store: Store) -> None:
    moved = manifest({"route": {"parentRefs": [{"name": "other", "namespace": "gateways"}]}})
    before = store.affected_by(MODEL)
    store.upsert(merged(moved, {"metadata": {"resourceVersion": "90"}}))

    assert GATEWAY in before
    assert GATEWAY not in store.affected_by(MODEL)


def test_a_model_that_is_gone_is_called_by_nobody(store: Store) -> None:
    store.evict(MODEL, 99)
    assert traffic(store).models == ()
