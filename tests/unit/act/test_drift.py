import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.act.drift import drift


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 1, "defaulted": 2}, "status": {}}),
        ({"spec": {"list": []}}, {"spec": {}}),
        ({"spec": {"text": "", "map": {}, "no": False, "nothing": None}}, {"spec": {}}),
        ({"limits": {"cpu": "1000m", "memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1073741824"}}),
        ({"sizeLimit": "2Gi"}, {"sizeLimit": "2048Mi"}),
        ({"hard": {"requests.nvidia.com/gpu": "1000"}}, {"hard": {"requests.nvidia.com/gpu": "1k"}}),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "INJECTED"}, {"name": "A", "value": "1"}]},
        ),
        ({"rules": [{"a": 1}]}, {"rules": [{"a": 1, "defaulted": True}]}),
        ({"labels": {"ours": "1"}}, {"labels": {"ours": "1", "theirs": "2"}}),
        ({"startup": 1800.0}, {"startup": 1800}),
    ],
)
def test_what_others_added_or_the_server_wrote_otherwise_is_no_drift(desired: Any, live: Any) -> None:
    assert drift(desired, live) == []


@pytest.mark.parametrize(
    ("desired", "live", "fields"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 2}}, ["spec.a"]),
        ({"spec": {"a": 1}}, {"spec": {}}, ["spec.a"]),
        ({"spec": {"a": {"b": 1}}}, {}, ["spec"]),
        ({"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}, ["spec.replicas"]),
        ({"spec": {"paused": False}}, {"spec": {"paused": True}}, ["spec.paused"]),
        ({"selector": {"app": "a"}}, {"selector": {"app": "a", "more": "x"}}, ["selector.more"]),
        ({"nodeSelector": {}}, {"nodeSelector": {"gpu": "a"}}, ["nodeSelector.gpu"]),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ["limits.cpu"]),
        ({"limits": {"cpu": "1"}}, {"limits": {}}, ["limits.cpu"]),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "much"}}, ["limits.cpu"]),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, ["args[0]", "args[1]"]),
        ({"args": ["a"]}, {"args": ["a", "--more"]}, ["args"]),
        ({"backendRefs": [{"name": "a"}]}, {"backendRefs": [{"name": "a"}, {"name": "b"}]}, ["backendRefs"]),
        (
            {"containers": [{"name": "engine", "image": "a"}]},
            {"containers": [{"name": "engine", "image": "b"}]},
            ["containers[engine].image"],
        ),
        (
            {"containers": [{"name": "engine", "image": "a"}]},
            {"containers": [{"name": "x"}]},
            ["containers[engine]"],
        ),
    ],
)
def test_what_was_changed_is_named_by_its_field(desired: Any, live: Any, fields: list[str]) -> None:
    assert drift(desired, live) == fields


_KEYS = st.sampled_from(["a", "b", "containers", "labels", "limits"])
_OBJECTS = st.recursive(
    st.one_of(st.integers(1, 9), st.sampled_from(["x", "1Gi"]), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _OBJECTS, max_size=4))
def test_an_object_never_drifts_from_itself(obj: dict[str, Any]) -> None:
    assert drift(obj, copy.deepcopy(obj)) == []


@given(st.dictionaries(_KEYS, _OBJECTS, min_size=1, max_size=4), st.randoms())
def test_a_field_that_is_lost_is_always_noticed(obj: dict[str, Any], choice: Any) -> None:
    lost = choice.choice(sorted(key for key in obj))
    left = {key: value for key, value in obj.items() if key != lost}
    is_empty = obj[lost] in (0, False, "", [], {})
    assert bool(drift(obj, left)) is not is_empty
