"""What a change of a lane does, field by field: a new revision, a change under running pods, or neither."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from builders import Cluster, by_kind, condition, merged, observed, queue_class
from pilothouse.api.queueclass import QueueClassSpec
from pilothouse.plan.observed import Object
from pilothouse.plan.types import Plan

ENGINE: dict[str, tuple[Any, str]] = {
    "requests.maxInputTokens": (4096, "--max-model-len=4352"),
    "requests.maxOutputTokens": (512, '--override-generation-config={"max_new_tokens":512}'),
    "concurrency.perReplica": (8, "--max-num-seqs=8"),
    "concurrency.queuedPerReplica": (8, "--max-num-queued-reqs=72"),
    "drain": ("60s", "--shutdown-timeout=60"),
}
"""What the engine is told: the new value, and the flag that says it."""

LIVE: dict[str, tuple[Any, set[str]]] = {
    "requests.timeout": ("90s", {"ConfigMap", "HTTPRoute"}),
    "requests.streaming": ("Required", {"ConfigMap"}),
    "requests.secretScan": ("Reject", {"ConfigMap"}),
    "concurrency.onFull": ("Wait", {"ConfigMap"}),
    "concurrency.maxWait": ("5m", {"ConfigMap"}),
    "priority": (7, set()),
    "objectives": ([{"metric": "Success", "ratio": 0.9}], set()),
}
"""What the engine is not told: the new value, and the kinds that carry it to pods that run."""

CAPS = ("requests.maxInputTokens", "requests.maxOutputTokens", "concurrency.perReplica")


def change(field: str, value: Any) -> Object:
    """A change of one field, and of the one that must follow it."""
    changed: Object = value
    for name in reversed(field.split(".")):
        changed = {name: changed}
    waits = {"onFull": "Wait", "maxWait": "5m"}
    together = {"concurrency.onFull", "concurrency.maxWait"}
    return merged(changed, {"concurrency": waits}) if field in together else changed


def arguments(plan: Plan) -> set[str]:
    """Every argument of every engine."""
    pods = (obj["spec"]["template"]["spec"] for obj in by_kind(plan, "Deployment"))
    return {argument for pod in pods for argument in pod["containers"][0]["args"]}


def settings(plan: Plan) -> dict[str, Object]:
    """The guards' settings by revision."""
    found = (json.loads(obj["data"]["settings.json"]) for obj in by_kind(plan, "ConfigMap"))
    return {each["identity"]["revision"]: each for each in found}


def test_it_is_decided_of_every_field_what_its_change_does() -> None:
    assert {*ENGINE, *LIVE} == set(_leaves(QueueClassSpec))


@pytest.mark.parametrize("field", ENGINE)
def test_what_the_engine_is_told_is_a_new_revision_beside_the_one_that_serves(field: str) -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    value, flag = ENGINE[field]
    assert flag not in arguments(cluster.plan)

    new = cluster.change(queue_class=queue_class(change(field, value))).begin()

    assert new != old
    assert flag in arguments(cluster.plan)
    assert cluster.plan.status["stable"]["revision"] == old
    assert settings(cluster.plan).keys() == {old, new}


@pytest.mark.parametrize("field", CAPS)
def test_a_guard_holds_to_the_cap_of_its_own_engine(field: str) -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    section, name = field.split(".")
    before = settings(cluster.plan)[old][section][name]

    new = cluster.change(queue_class=queue_class(change(field, ENGINE[field][0]))).begin()

    found = settings(cluster.plan)
    assert (found[old][section][name], found[new][section][name]) == (before, ENGINE[field][0])


@pytest.mark.parametrize("field", LIVE)
def test_what_the_engine_is_not_told_changes_no_pod(field: str) -> None:
    cluster = Cluster()
    before = cluster.settle()
    value, kinds = LIVE[field]

    after = cluster.change(queue_class=queue_class(change(field, value))).settle()

    changed = {new["kind"] for new, old in zip(after.objects, before.objects, strict=True) if new != old}
    assert changed == kinds
    assert after.status["stable"]["revision"] == before.status["stable"]["revision"]


def test_a_lane_that_is_deleted_or_renamed_is_said_and_what_serves_goes_on() -> None:
    cluster = Cluster()
    before = cluster.settle()

    after = cluster.change(queue_class=None).settle()

    accepted = condition(after, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "QueueClassNotFound")
    assert 'no QueueClass "completion"' in accepted["message"]
    assert condition(after, "Ready")["reason"] == "QueueClassNotFound"
    assert after.prunes == ()
    assert by_kind(after, "Deployment") == by_kind(before, "Deployment")
    assert by_kind(after, "ConfigMap") == by_kind(before, "ConfigMap")


def test_a_lane_that_comes_back_as_it_was_changes_nothing() -> None:
    cluster = Cluster()
    before = cluster.settle()

    after = cluster.change(queue_class=None).settle()
    after = cluster.change(queue_class=queue_class()).settle()

    assert after.objects == before.objects
    assert condition(after, "Ready")["status"] == "True"


def test_a_canary_of_a_lane_that_is_gone_gets_no_more_weight() -> None:
    cluster = Cluster(observed())
    cluster.settle()
    cluster.change(queue_class=queue_class({"drain": "60s"})).begin()
    route = [obj for key, obj in cluster.seen.children.items() if key.kind == "HTTPRoute"]

    for _ in range(5):
        cluster.change(queue_class=None).tick(seconds=600)

    assert [obj for key, obj in cluster.seen.children.items() if key.kind == "HTTPRoute"] == route


def _leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for field in model.model_fields.values():
        here = f"{path}{field.alias or ''}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, f"{here}.")
        else:
            yield here
