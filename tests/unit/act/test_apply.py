from typing import Any

import pytest

from fake_kube import FakeKube
from pilothouse.act.apply import Applied, Apply, with_digest
from pilothouse.errors import Conflict, Retryable
from pilothouse.names import APPLIED
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.types import Plan

OWNER = {"uid": "u1", "controller": True}


def service(owner: dict[str, Any] = OWNER, **spec: Any) -> Object:
    """A planned Service."""
    metadata = {"name": "qwen-coder", "namespace": "team-ide", "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


KEY = key_of(service())


async def carry_out(apply: Apply, kube: FakeKube, *objects: Object, known: bool = True) -> Applied:
    """Apply these objects when the Store knows what the cluster has, or nothing."""
    plan = Plan(objects=objects, prunes=(), status={}, events=(), requeue_after=None)
    return await apply(plan, dict(kube.objects) if known else {})


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def apply(kube: FakeKube) -> Apply:
    return Apply(kube, lambda _: None)


def _verbs(kube: FakeKube) -> list[str]:
    return [verb for verb, _ in kube.requests]


async def test_what_is_missing_is_applied_without_force(kube: FakeKube, apply: Apply) -> None:
    await carry_out(apply, kube, service())
    assert _verbs(kube) == ["apply"]


async def test_what_is_as_planned_costs_no_request(kube: FakeKube, apply: Apply) -> None:
    await carry_out(apply, kube, service())
    await carry_out(apply, kube, service())
    assert _verbs(kube) == ["apply"]


async def test_what_is_planned_otherwise_is_applied_by_force(kube: FakeKube, apply: Apply) -> None:
    await carry_out(apply, kube, service(type="ClusterIP"))
    await carry_out(apply, kube, service(type="ExternalName"))
    assert _verbs(kube) == ["apply", "force"]


async def test_a_field_that_is_no_longer_planned_is_noticed_by_the_digest(
    kube: FakeKube, apply: Apply
) -> None:
    await carry_out(apply, kube, service(type="ClusterIP", sessionAffinity="None"))
    await carry_out(apply, kube, service(type="ClusterIP"))
    assert _verbs(kube) == ["apply", "force"]


async def test_what_someone_changed_comes_back(kube: FakeKube, apply: Apply) -> None:
    await carry_out(apply, kube, service(selector={"a": "b"}))
    kube.put({**kube.objects[KEY], "spec": {"selector": {"a": "c"}}})
    await carry_out(apply, kube, service(selector={"a": "b"}))
    assert kube.objects[KEY]["spec"] == {"selector": {"a": "b"}}


async def test_what_the_server_keeps_otherwise_is_not_asked_for_again(kube: FakeKube, apply: Apply) -> None:
    await carry_out(apply, kube, service(type="ClusterIP"))
    webhook = {"type": "LoadBalancer"}
    real_put = kube.put
    kube.put = lambda obj: real_put({**obj, "spec": webhook})  # type: ignore[method-assign]
    for _ in range(5):
        await carry_out(apply, kube, service(type="NodePort"))
    assert _verbs(kube) == ["apply", "force"]


async def test_a_foreign_object_of_the_same_name_is_left_alone(kube: FakeKube, apply: Apply) -> None:
    kube.put(service({"uid": "someone"}))
    kube.before = _conflict
    applied = await carry_out(apply, kube, service(), known=False)
    assert applied.refusals == {KEY: 'conflict with "helm"'}
    assert _verbs(kube) == ["apply", "get"]


async def test_our_own_object_without_our_label_is_taken_back(kube: FakeKube, apply: Apply) -> None:
    kube.put(service())
    kube.before = _conflict
    applied = await carry_out(apply, kube, service(), known=False)
    assert list(applied.changed) == [KEY]
    assert _verbs(kube) == ["apply", "get", "force"]


async def test_an_outage_stops_the_plan_and_is_raised(kube: FakeKube, apply: Apply) -> None:
    def away(_: str, __: ObjectKey) -> None:
        raise Retryable("connection refused")

    kube.before = away
    with pytest.raises(Retryable):
        await carry_out(apply, kube, service())


def test_the_digest_does_not_depend_on_how_a_number_is_written() -> None:
    digests = {
        with_digest(service(a=number, b=[{"c": number}]))["metadata"]["annotations"][APPLIED]
        for number in (1, 1.0)
    }
    assert len(digests) == 1


def test_the_digest_stands_beside_other_annotations() -> None:
    obj = service()
    obj["metadata"]["annotations"] = {"mine": "1"}
    assert with_digest(obj)["metadata"]["annotations"].keys() == {"mine", APPLIED}


def _conflict(verb: str, _: ObjectKey) -> None:
    if verb == "apply":
        raise Conflict('conflict with "helm"')
