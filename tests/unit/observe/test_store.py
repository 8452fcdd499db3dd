import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import manifest
from pilothouse.kinds import MODEL_DEPLOYMENT
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.telemetry.metrics import REGISTRY

KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
LANE = ObjectKey("QueueClass", "", "completion")
GATEWAY = ObjectKey("Gateway", "gateways", "models")


def at(version: int, obj: Object) -> Object:
    """Give an object a version."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def child(name: str = "qwen-coder-1", uid: str = "u1", deployment: str = "qwen-coder") -> Object:
    """A Service that belongs to a ModelDeployment."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "team-ide",
            "labels": {"pilothouse.dev/deployment": deployment},
            "ownerReferences": [{"uid": "other"}, {"uid": uid, "controller": True}],
        },
    }


def tenant_quota(*namespaces: str, name: str = "ide") -> Object:
    """A TenantQuota of these namespaces."""
    return {"kind": "TenantQuota", "metadata": {"name": name}, "spec": {"namespaces": list(namespaces)}}


@pytest.fixture
def store() -> Store:
    return Store()


def test_what_was_put_in_comes_out(store: Store) -> None:
    store.upsert(at(1, manifest()))
    assert store.get(KEY) == manifest()
    assert store.version(KEY) == 1
    assert store.keys(MODEL_DEPLOYMENT) == [KEY]


def test_what_is_written_back_is_at_the_version_that_is_known(store: Store) -> None:
    store.upsert(at(7, manifest()))
    assert store.live(KEY) == at(7, manifest())
    assert store.live(LANE) is None


def test_an_older_version_changes_nothing(store: Store) -> None:
    store.upsert(at(5, manifest({"replicas": 5})))
    assert not store.upsert(at(4, manifest({"replicas": 4})))
    assert store.get(KEY) == manifest({"replicas": 5})


def test_a_newer_version_with_the_same_content_is_no_news(store: Store) -> None:
    store.upsert(at(5, manifest()))
    assert not store.upsert(at(6, manifest()))
    assert store.version(KEY) == 6


def test_who_manages_a_field_is_neither_kept_nor_news(store: Store) -> None:
    store.upsert(at(5, manifest()))
    assert not store.upsert(at(6, manifest(managedFields=[{"manager": "kubectl"}])))
    assert store.get(KEY) == manifest()


def test_what_kubectl_remembers_is_not_kept(store: Store) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"}
    store.upsert(at(5, manifest(annotations=annotations)))
    assert store.get(KEY) == manifest(annotations={"mine": "1"})


def test_another_route_on_a_gateway_is_no_news_to_its_users(store: Store) -> None:
    def gateway(routes: int) -> Object:
        listeners = [{"name": "http", "attachedRoutes": routes}]
        metadata = {"name": "models", "namespace": "gateways"}
        return {
            "apiVersion": "x/v1",
            "kind": "Gateway",
            "metadata": metadata,
            "status": {"listeners": listeners},
        }

    store.upsert(at(1, gateway(1)))
    assert not store.upsert(at(2, gateway(2)))


def test_children_are_found_by_label_and_owner(store: Store) -> None:
    store.upsert(at(1, child("ours")))
    store.upsert(at(2, child("of-a-former-one", uid="u0")))
    store.upsert(at(3, child("of-another", deployment="other")))
    assert [key.name for key in store.children(KEY, "u1")] == ["ours"]


def test_a_child_that_loses_its_label_is_no_child(store: Store) -> None:
    store.upsert(at(1, child()))
    bare = child()
    bare["metadata"] = {**bare["metadata"], "labels": {}}
    store.upsert(at(2, bare))
    assert store.children(KEY, "u1") == {}


def test_dependants_follow_the_reference(store: Store) -> None:
    store.upsert(at(1, manifest()))
    assert store.affected_by(LANE) == {KEY}
    assert store.affected_by(GATEWAY) == {KEY, GATEWAY}
    store.upsert(at(2, manifest({"queueClassName": "synthesis"})))
    assert store.affected_by(LANE) == frozenset()


def test_a_child_concerns_its_owner(store: Store) -> None:
    store.upsert(at(1, child()))
    assert store.affected_by(key_of(child())) == {KEY}


def test_a_quota_concerns_the_models_of_its_namespaces_and_those_concern_it(store: Store) -> None:
    store.upsert(at(1, manifest()))
    store.upsert(at(2, manifest(name="elsewhere", namespace="team-lab")))
    store.upsert(at(3, tenant_quota("team-ide")))
    store.upsert(at(4, child()))
    quota = ObjectKey("TenantQuota", "", "ide")

    assert store.affected_by(quota) == {quota, KEY}
    assert quota in store.affected_by(KEY)
    assert quota in store.affected_by(key_of({**child(), "kind": "Deployment"}))
    assert quota not in store.affected_by(ObjectKey("ModelDeployment", "team-lab", "elsewhere"))


def test_quotas_that_name_one_namespace_concern_each_other(store: Store) -> None:
    store.upsert(at(1, tenant_quota("team-ide")))
    store.upsert(at(2, tenant_quota("team-ide", name="other")))

    assert ObjectKey("TenantQuota", "", "other") in store.affected_by(ObjectKey("TenantQuota", "", "ide"))


def test_a_resource_quota_concerns_the_tenant_quota_that_owns_it(store: Store) -> None:
    owner = {"kind": "TenantQuota", "name": "ide", "uid": "u9", "controller": True}
    labels = {"app.kubernetes.io/managed-by": "pilothouse"}
    metadata = {
        "name": "pilothouse-ide",
        "namespace": "team-ide",
        "ownerReferences": [owner],
        "labels": labels,
    }
    store.upsert(at(1, {"kind": "ResourceQuota", "metadata": metadata}))
    quota = ObjectKey("TenantQuota", "", "ide")

    assert quota in store.affected_by(ObjectKey("ResourceQuota", "team-ide", "pilothouse-ide"))
    assert list(store.children(quota, "u9")) == [ObjectKey("ResourceQuota", "team-ide", "pilothouse-ide")]


def test_an_evicted_object_is_gone_with_its_traces(store: Store) -> None:
    store.upsert(at(1, manifest()))
    assert store.evict(KEY, 2)
    assert store.get(KEY) is None
    assert store.affected_by(LANE) == frozenset()


def test_a_late_deletion_of_a_former_object_leaves_its_successor(store: Store) -> None:
    store.upsert(at(10, manifest(uid="new")))
    assert not store.evict(KEY, 9)
    assert store.get(KEY) == manifest(uid="new")


def test_an_answer_that_the_deletion_overtook_brings_nothing_back(store: Store) -> None:
    store.upsert(at(10, manifest()))
    store.evict(KEY, 12)
    assert not store.upsert(at(11, manifest()))
    assert store.get(KEY) is None


def test_a_successor_of_an_evicted_object_is_taken_in(store: Store) -> None:
    store.upsert(at(10, manifest()))
    store.evict(KEY, 12)
    assert store.upsert(at(13, manifest(uid="new")))


def test_evictions_are_forgotten_when_nothing_older_can_come(store: Store) -> None:
    store.upsert(at(10, manifest()))
    store.evict(KEY, 12)
    store.forget_evictions(before=13)
    assert store.upsert(at(11, manifest()))


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.booleans(), st.sampled_from(["x", "y"]), st.integers(0, 3)),
        max_size=30,
    ),
    st.randoms(),
)
def test_the_order_of_events_does_not_matter(
    history: list[tuple[str, bool, str, int]], order: random.Random
) -> None:
    """Watches, answers to writes and resyncs race; the last version wins, whatever comes first."""
    events = [(number + 1, *event) for number, event in enumerate(history)]
    in_order, shuffled = Store(), Store()
    for event in events:
        _play(in_order, event)
    order.shuffle(events)
    for event in events:
        _play(shuffled, event)
    for name in ("a", "b"):
        key = ObjectKey("Service", "team-ide", name)
        assert shuffled.get(key) == in_order.get(key)
    for deployment in ("x", "y"):
        owner = ObjectKey("ModelDeployment", "team-ide", deployment)
        assert shuffled.children(owner, "u1").keys() == in_order.children(owner, "u1").keys()


def _play(store: Store, event: tuple[int, str, bool, str, int]) -> None:
    version, name, gone, deployment, marker = event
    obj = at(version, {**child(name, deployment=deployment), "spec": {"marker": marker}})
    if gone:
        store.evict(key_of(obj), version)
    else:
        store.upsert(obj)


def test_rollouts_are_counted_by_state_until_they_end(store: Store) -> None:
    def counted() -> list[float | None]:
        return [
            REGISTRY.get_sample_value("pilothouse_rollouts", {"state": state})
            for state in ("Holding", "Baking")
        ]

    seen = []
    for version, status in enumerate(
        ({"rollout": {"state": "Holding"}}, {"rollout": {"state": "Baking"}}, {})
    ):
        store.upsert(at(version + 1, {**manifest(), "status": status}))
        seen.append(counted())
    assert seen == [[1, 0], [0, 1], [0, 0]]
