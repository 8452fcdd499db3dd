"""A revision: what its hash depends on, what it does not, and that a record is read back as it was."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    DIGEST,
    OTHER_COMMIT,
    Cluster,
    by_kind,
    merged,
    model_deployment,
    observed,
    queue_class,
)
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.plan.lifecycle import Lifecycle, lifecycle_of
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.plan import plan
from pilothouse.plan.podtemplate import pod_template
from pilothouse.plan.revision import Revision, hash_of, inputs_of, next_number, revisions_of

NAMES = st.sampled_from(["model", "engine", "env", "args", "x"])
VALUES = st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "\u00e9", "sha256:0"])
INPUTS = st.dictionaries(
    NAMES, VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(NAMES, VALUES, max_size=2)
)

IN_THE_HASH: dict[str, Object] = {
    "checkpoint": {"model": {"checkpoint": {"revision": OTHER_COMMIT}}},
    "tokenizer": {"model": {"tokenizer": {"revision": OTHER_COMMIT}}},
    "fingerprint": {"model": {"tokenizer": {"fingerprint": DIGEST}}},
    "license": {"model": {"license": {"id": "MIT"}}},
    "name": {"model": {"name": "other"}},
    "secret": {"model": {"checkpoint": {"secretRef": {"name": "hf-token"}}}},
    "image": {"engine": {"image": "vllm/vllm-openai:v0.33.0"}},
    "dtype": {"engine": {"dtype": "float16"}},
    "arguments": {"engine": {"extraArgs": ["--seed=1"]}},
    "environment": {"engine": {"env": [{"name": "A", "value": "1"}]}},
    "remote code": {"engine": {"trustRemoteCode": True}},
    "resources": {"resources": {"gpu": {"count": 2}}},
    "storage": {"storage": {"cacheClaimName": "models"}},
    "placement": {"placement": {"nodeSelector": {"zone": "a"}}},
    "queue class": {"queueClassName": "synthesis"},
}
NOT_IN_THE_HASH: dict[str, Object] = {
    "replicas": {"replicas": 7},
    "route": {"route": {"pathPrefix": "/other"}},
    "no route": {"route": None},
    "rollout": {"rollout": {"paused": True, "capacity": "InPlace"}},
    "a default written out": {"engine": {"dtype": "auto", "guard": "Enabled", "extraArgs": []}},
    "the name of the object written out": {"model": {"name": "qwen-coder"}},
    "the source of the checkpoint written out for the tokenizer": {
        "model": {"tokenizer": {"source": "hf://Qwen/Qwen2.5-Coder-7B-Instruct"}},
    },
}
LANE_IN_THE_HASH: dict[str, Object] = {
    "input": {"requests": {"maxInputTokens": 1}},
    "output": {"requests": {"maxOutputTokens": 1}},
    "batch": {"concurrency": {"perReplica": 1}},
    "queue": {"concurrency": {"queuedPerReplica": 1}},
    "drain": {"drain": "31s"},
}
LANE_NOT_IN_THE_HASH: dict[str, Object] = {
    "priority": {"priority": 7},
    "timeout": {"requests": {"timeout": "16s"}},
    "scan": {"requests": {"secretScan": "Reject"}},
    "objectives": {"objectives": [{"metric": "Success", "ratio": 0.9}]},
    "the same drain in another unit": {"drain": "29s501ms"},
}
UNNAMED: Object = {"model": {"name": None}}


def name_of(spec: Object | None = None, lane: Object | None = None) -> str:
    """The revision of this spec in this lane; the model has the name of its object."""
    deployment = model_deployment(merged(UNNAMED, spec or {}))
    return hash_of(inputs_of(deployment, queue_class(lane)))


@given(INPUTS)
def test_a_name_is_ten_hex_digits(inputs: dict[str, Any]) -> None:
    assert re.fullmatch(r"[0-9a-f]{10}", hash_of(inputs))


@given(INPUTS, st.randoms())
def test_the_order_of_keys_changes_nothing(inputs: dict[str, Any], random: Any) -> None:
    names = list(inputs)
    random.shuffle(names)

    assert hash_of({name: inputs[name] for name in names}) == hash_of(inputs)


@given(INPUTS)
def test_inputs_that_went_through_the_api_server_keep_their_hash(inputs: dict[str, Any]) -> None:
    assert hash_of(json.loads(json.dumps(inputs))) == hash_of(inputs)


@pytest.mark.parametrize("what", IN_THE_HASH)
def test_what_can_change_an_answer_is_a_new_revision(what: str) -> None:
    assert name_of(IN_THE_HASH[what]) != name_of()


@pytest.mark.parametrize("what", NOT_IN_THE_HASH)
def test_what_can_not_change_an_answer_is_the_same_revision(what: str) -> None:
    assert name_of(NOT_IN_THE_HASH[what]) == name_of()


@pytest.mark.parametrize("what", LANE_IN_THE_HASH)
def test_a_cap_of_the_lane_is_a_new_revision(what: str) -> None:
    assert name_of(lane=LANE_IN_THE_HASH[what]) != name_of()


@pytest.mark.parametrize("what", LANE_NOT_IN_THE_HASH)
def test_what_the_engine_is_not_told_of_the_lane_is_the_same_revision(what: str) -> None:
    assert name_of(lane=LANE_NOT_IN_THE_HASH[what]) == name_of()


@given(
    st.lists(st.sampled_from(sorted(IN_THE_HASH)) | st.sampled_from(sorted(NOT_IN_THE_HASH)), max_size=4),
    st.lists(
        st.sampled_from(sorted(LANE_IN_THE_HASH)) | st.sampled_from(sorted(LANE_NOT_IN_THE_HASH)), max_size=3
    ),
)
def test_the_same_hash_has_the_same_pod(specs: list[str], lanes: list[str]) -> None:
    spec: Object = UNNAMED
    lane: Object = {}
    for what in specs:
        spec = merged(spec, {**IN_THE_HASH, **NOT_IN_THE_HASH}[what])
    for what in lanes:
        lane = merged(lane, {**LANE_IN_THE_HASH, **LANE_NOT_IN_THE_HASH}[what])

    if name_of(spec, lane) == name_of():
        assert rendered(spec, lane) == rendered(UNNAMED, {})


def rendered(spec: Object, lane: Object) -> Object:
    """The pod template of this spec in this lane."""
    lifecycle = lifecycle_of(queue_class(lane), BUILT_IN)
    return pod_template(model_deployment(spec), queue_class(lane), lifecycle, "0123456789")


def test_a_longer_startup_deadline_is_no_new_revision_and_changes_no_pod() -> None:
    cluster = Cluster()
    before = cluster.settle()
    patient = BUILT_IN.model_copy(update={"startup_deadline": "2h"})
    after = cluster.change(policy=patient).tick()

    assert after.objects == before.objects


def test_a_record_is_read_back_as_it_was() -> None:
    cluster = Cluster()
    cluster.settle()
    (found,) = revisions_of(cluster.seen).values()
    (record,) = by_kind(cluster.plan, "ControllerRevision")

    assert found.data() == record["data"]
    assert record["metadata"]["name"] == f"qwen-coder-{found.name}"
    assert found.number == record["revision"] == 1


def test_a_record_without_its_label_is_still_read() -> None:
    cluster = Cluster()
    before = cluster.settle()
    (key,) = [key for key in cluster.seen.children if key.kind == "ControllerRevision"]
    live = cluster.seen.children[key]
    bare = {
        **live,
        "metadata": {**live["metadata"], "labels": {"app.kubernetes.io/managed-by": "pilothouse"}},
    }

    after = plan(cluster.change(children={**cluster.seen.children, key: bare}).seen)
    assert after.objects == before.objects


def test_numbers_rise() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change({"model": {"checkpoint": {"revision": OTHER_COMMIT}}}).begin()

    numbers = [revision.number for revision in revisions_of(cluster.seen).values()]
    assert sorted(numbers) == [1, 2]
    assert next_number(revisions_of(cluster.seen)) == 3
    assert next_number({}) == 1


def test_the_serving_revision_is_rebuilt_from_its_deployment_where_its_record_was_deleted() -> None:
    cluster = Cluster()
    before = cluster.settle()
    (record,) = by_kind(before, "ControllerRevision")
    children = {key: obj for key, obj in cluster.seen.children.items() if key != key_of(record)}

    after = plan(cluster.change(children=children).seen)
    assert by_kind(after, "Deployment") == by_kind(before, "Deployment")
    assert after.status["stable"] == before.status["stable"]
    assert by_kind(after, "ControllerRevision")[0]["data"]["podTemplate"] == record["data"]["podTemplate"]


def test_a_lost_record_of_a_lost_deployment_is_rendered_anew() -> None:
    cluster = Cluster()
    before = cluster.settle()
    gone = {"ControllerRevision", "Deployment"}
    children = {key: obj for key, obj in cluster.seen.children.items() if key.kind not in gone}

    after = plan(cluster.change(children=children).seen)
    assert [key_of(obj) for obj in after.objects] == [key_of(obj) for obj in before.objects]


def test_a_record_is_small() -> None:
    (record,) = by_kind(plan(observed()), "ControllerRevision")

    assert len(json.dumps(record["data"])) < 8_000


def test_the_largest_record_that_the_api_allows_fits_into_one_object() -> None:
    arguments = [f"--{number:064}={'x' * 1970}" for number in range(64)]
    env = [{"name": f"N{number:0250}", "value": "x" * 4096} for number in range(64)]
    deployment = model_deployment({"engine": {"extraArgs": arguments, "env": env}})
    inputs = inputs_of(deployment, queue_class())
    lifecycle = Lifecycle(startup=1, drain=1)
    template = pod_template(deployment, queue_class(), lifecycle, "0123456789")

    data = Revision("0123456789", 1, inputs, template, lifecycle).data()
    assert len(json.dumps(data)) < 1_000_000


def test_records_of_other_deployments_are_told_apart_by_the_store_and_not_by_name() -> None:
    cluster = Cluster(observed(model_deployment(name="a-b")))
    cluster.settle()
    (found,) = revisions_of(cluster.seen).values()

    assert ObjectKey("ControllerRevision", "team-ide", f"a-b-{found.name}") in cluster.seen.children
    assert replace(found, number=2) != found
