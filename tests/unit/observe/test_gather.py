from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from builders import manifest
from fake_looks import BARE, NO_LOOKS
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.names import API_VERSION
from pilothouse.observe.gather import Gather, Looks
from pilothouse.observe.measured import Measured
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.readings import Reading

NOW = datetime(2026, 11, 23, tzinfo=UTC)
POD = {"kind": "Pod", "metadata": {"name": "p"}}
REACHABLE = {"bbbbbbbbbb": 1}


def deployment(ready: int | None, uid: str = "u1") -> Object:
    """A child Deployment of two pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "qwen-coder-1",
            "namespace": "team-ide",
            "labels": {"pilothouse.dev/deployment": "qwen-coder"},
            "ownerReferences": [{"uid": uid, "controller": True}],
        },
        "spec": {"replicas": 2},
        "status": {} if ready is None else {"readyReplicas": ready},
    }


LANE = {
    "apiVersion": "pilothouse.dev/v1alpha1",
    "kind": "QueueClass",
    "metadata": {"name": "completion"},
    "spec": {
        "requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"},
        "concurrency": {"perReplica": 64, "queuedPerReplica": 32},
        "drain": "30s",
    },
}
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "models", "namespace": "gateways", "uid": "g1"},
    "spec": {},
}


async def observe(*known: Object, live: Object | None = None, looks: Looks = NO_LOOKS) -> Observed:
    """Gather for `qwen-coder` when these objects are known."""
    store = Store()
    for version, obj in enumerate(known, start=1):
        store.upsert({**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}})

    async def list_pods(_: ObjectKey) -> list[Object]:
        return [POD]

    async def reachable(_: ObjectKey) -> dict[str, int]:
        return REACHABLE

    return await Gather(store, list_pods, reachable, looks, BARE, lambda: NOW)(live or manifest())


async def test_what_the_spec_names_is_found() -> None:
    observed = await observe(LANE, GATEWAY)
    assert observed.queue_class
    assert observed.queue_class.metadata.name == "completion"
    assert list(observed.gateways) == [ObjectKey("Gateway", "gateways", "models")]
    assert observed.now == NOW


async def test_a_name_that_leads_nowhere_is_none() -> None:
    observed = await observe(live=manifest({"rollout": {"policyName": "careful"}}))
    assert observed.queue_class is None
    assert observed.policy is None
    assert observed.gateways == {}


async def test_what_an_older_schema_let_in_is_none_and_its_field_is_named() -> None:
    lane = {**LANE, "spec": {**LANE["spec"], "drain": "soon"}}
    careful = {"kind": "RolloutPolicy", "metadata": {"name": "careful"}, "spec": {"steps": [{"weight": 0}]}}
    observed = await observe(lane, careful, live=manifest({"rollout": {"policyName": "careful"}}))

    assert (observed.queue_class, observed.policy) == (None, None)
    assert observed.unreadable["QueueClass"].startswith("spec.drain: ")
    assert observed.unreadable["RolloutPolicy"].startswith("spec.steps[0].weight: ")


async def test_without_a_name_the_built_in_policy_holds() -> None:
    assert (await observe()).policy == BUILT_IN


@pytest.mark.parametrize(("ready", "pods"), [(2, ()), (1, (POD,)), (None, (POD,))])
async def test_pods_are_listed_only_while_some_are_missing(
    ready: int | None, pods: tuple[Object, ...]
) -> None:
    assert (await observe(deployment(ready))).pods == pods


async def test_pods_are_listed_until_those_that_gave_way_are_gone() -> None:
    draining = {**manifest(), "status": {"rollout": {"state": "Draining"}}}

    assert (await observe(deployment(2), live=draining)).pods == (POD,)


async def test_children_of_a_former_object_of_the_same_name_are_not_seen() -> None:
    assert (await observe(deployment(0, uid="u0"))).children == {}


async def test_an_object_that_an_older_schema_let_in_is_refused_by_name_of_its_field() -> None:
    with pytest.raises(ValidationError, match="replicas"):
        await observe(live=manifest({"replicas": -1}))


def legal(kind: str, name: str, **spec: object) -> Object:
    """What legal wrote."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def test_what_legal_wrote_is_known_by_name_and_what_can_not_be_read_is_none() -> None:
    pins = {
        "checkpoint": "hf://a/b",
        "revision": "a" * 40,
        "ticket": "L-1",
        "expires": "2999-01-01T00:00:00Z",
    }
    observed = await observe(
        legal("LicensePolicy", "good", default="Allow"),
        legal("LicensePolicy", "of-another-schema", default="Maybe"),
        legal("LicenseApproval", "good", licenseID="MIT", **pins),
        legal("LicenseApproval", "of-another-schema", licenseID="MIT OR Apache-2.0", **pins),
    )

    assert observed.license_policies.keys() == observed.approvals.keys() == {"good", "of-another-schema"}
    assert observed.license_policies["good"]
    assert observed.license_policies["of-another-schema"] is None
    assert observed.approvals["good"]
    assert observed.approvals["of-another-schema"] is None


READING = Reading(pod="u", revision="bbbbbbbbbb", at=NOW)
TESTED = PreflightStatus(pod="u")


async def looked_at(state: str) -> Observed:
    """Gather while a canary is in this state, all pods ready."""

    async def measure(_: object, __: object, pods: Sequence[Object], now: datetime) -> Measured:
        assert (pods, now) == ([POD], NOW)
        return Measured((READING,), {"v": "no answer within 1 s"})

    status = {"canary": {"revision": "bbbbbbbbbb"}, "rollout": {"state": state}}
    looks = replace(
        NO_LOOKS, measure=measure, preflights=lambda observed: {"u": TESTED} if observed.pods else {}
    )
    return await observe(deployment(2), live={**manifest(), "status": status}, looks=looks)


async def test_a_canary_is_looked_at_though_all_pods_are_ready() -> None:
    observed = await looked_at("Holding")
    assert (observed.pods, observed.readings) == ((POD,), (READING,))
    assert observed.reachable == REACHABLE
    assert (observed.unread, observed.preflights) == ({"v": "no answer within 1 s"}, {"u": TESTED})


async def test_a_canary_that_waits_for_its_turn_costs_no_request() -> None:
    observed = await looked_at("Waiting")
    assert (observed.pods, observed.readings, observed.preflights) == ((), (), {})
    assert observed.reachable == {}
