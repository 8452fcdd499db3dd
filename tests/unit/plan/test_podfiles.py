"""The files of a revision's pods: the code is frozen, the guard's settings follow the queue class."""

import json

import pytest

from builders import Cluster, model_deployment, observed, queue_class
from pilothouse.plan.observed import Object, ObjectKey

CODE = {"pilothouse_guard.py": "one", "pilothouse_fetch.py": "two"}
NEWER = {"pilothouse_guard.py": "three"}


def files(cluster: Cluster) -> Object:
    """The content of the ConfigMap as it is live."""
    (config_map,) = [obj for key, obj in cluster.seen.children.items() if key.kind == "ConfigMap"]
    return dict(config_map["data"])


def settings(cluster: Cluster) -> Object:
    return dict(json.loads(files(cluster)["settings.json"]))


def served(**fields: object) -> Cluster:
    cluster = Cluster(observed(pod_files=CODE, **fields))
    cluster.settle()
    return cluster


def test_pods_get_the_code_of_the_operator_that_made_them() -> None:
    assert CODE.items() <= files(served()).items()


def test_an_operator_upgrade_changes_no_code_that_runs() -> None:
    cluster = served()
    cluster.change(pod_files=NEWER).settle()

    assert CODE.items() <= files(cluster).items()


def test_code_that_somebody_changed_is_replaced() -> None:
    cluster = served()
    changed = {
        key: {**obj, "data": {**obj["data"], "pilothouse_guard.py": "open"}}
        if key.kind == "ConfigMap"
        else obj
        for key, obj in cluster.seen.children.items()
    }
    cluster.change(children=changed).settle()

    assert files(cluster)["pilothouse_guard.py"] == "one"


def test_code_that_is_lost_comes_back_in_this_operators_version() -> None:
    cluster = served()
    rest = {key: obj for key, obj in cluster.seen.children.items() if key.kind != "ConfigMap"}
    cluster.change(children=rest, pod_files=NEWER).settle()

    assert NEWER.items() <= files(cluster).items()


def test_a_lost_record_changes_no_code_that_runs() -> None:
    cluster = served()
    rest = {key: obj for key, obj in cluster.seen.children.items() if key.kind != "ControllerRevision"}
    cluster.change(children=rest, pod_files=NEWER).settle()

    assert CODE.items() <= files(cluster).items()


def test_the_guard_is_told_whom_it_guards() -> None:
    cluster = served()
    revision = cluster.plan.status["stable"]["revision"]

    assert settings(cluster)["identity"] == {
        "namespace": "team-ide",
        "deployment": "qwen-coder",
        "revision": revision,
        "model": "qwen2.5-coder-7b",
        "modelRevision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
        "tokenizerRevision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
        "licenseID": "Apache-2.0",
        "queueClass": "completion",
    }


def test_what_does_not_change_the_engine_changes_the_guard_live() -> None:
    cluster = served()
    before = cluster.plan.status["stable"]["revision"]
    requests = {"secretScan": "Reject", "timeout": "30s", "streaming": "Required"}
    cluster.change(
        queue_class=queue_class({"requests": requests, "concurrency": {"onFull": "Reject"}})
    ).settle()

    assert cluster.plan.status["stable"]["revision"] == before
    assert settings(cluster)["requests"] == {
        "maxInputTokens": 8192,
        "maxOutputTokens": 256,
        "secretScan": "Reject",
        "streaming": "Required",
        "timeoutSeconds": 30.0,
    }


def test_the_caps_are_those_of_the_revisions_own_engine() -> None:
    cluster = served()
    cluster.change(queue_class=queue_class({"requests": {"maxInputTokens": 4096}})).begin()
    maps = [obj for key, obj in sorted(cluster.seen.children.items()) if key.kind == "ConfigMap"]
    caps = {json.loads(obj["data"]["settings.json"])["requests"]["maxInputTokens"] for obj in maps}

    assert caps == {8192, 4096}


def test_settings_stay_in_force_while_the_queue_class_is_gone() -> None:
    cluster = served()
    before = settings(cluster)
    cluster.change(queue_class=None).tick()

    assert settings(cluster) == before


def test_who_may_call_is_followed_while_the_queue_class_is_gone() -> None:
    cluster = served()
    cluster.change({"route": {"allowTenants": ["team-data"]}}, queue_class=None).tick()

    assert settings(cluster)["callers"] == "Known"


@pytest.mark.parametrize("broken", ["", "[]", "{"])
def test_settings_that_somebody_broke_while_the_queue_class_is_gone_are_made_anew_with_it(
    broken: str,
) -> None:
    cluster = served()
    before = settings(cluster)
    children = {
        key: {**obj, "data": {**obj["data"], "settings.json": broken}} if key.kind == "ConfigMap" else obj
        for key, obj in cluster.seen.children.items()
    }
    cluster.change(queue_class=None, children=children).tick()
    assert files(cluster)["settings.json"] == broken

    cluster.change(queue_class=queue_class()).tick()
    assert settings(cluster) == before


def test_pods_of_an_older_operator_are_given_no_files() -> None:
    cluster = served()
    old = {key: _without_files(obj) for key, obj in cluster.seen.children.items() if key.kind != "ConfigMap"}
    cluster.change(children=old).settle()

    assert not [key for key in cluster.seen.children if key.kind == "ConfigMap"]


def test_a_disabled_guard_is_not_loaded() -> None:
    for guard, loaded in (("Enabled", True), ("Disabled", False)):
        cluster = served(deployment=model_deployment({"engine": {"guard": guard}}))
        revision = cluster.plan.status["stable"]["revision"]
        live = cluster.seen.children[ObjectKey("Deployment", "team-ide", f"qwen-coder-{revision}")]
        arguments = live["spec"]["template"]["spec"]["containers"][0]["args"]
        assert ("--middleware=pilothouse_guard.Guard" in arguments) is loaded


def _without_files(obj: Object) -> Object:
    if obj["kind"] != "ControllerRevision":
        return obj
    template = obj["data"]["podTemplate"]
    spec = {**template["spec"], "volumes": []}
    data = {key: value for key, value in obj["data"].items() if key != "files"}
    return {**obj, "data": {**data, "podTemplate": {**template, "spec": spec}}}
