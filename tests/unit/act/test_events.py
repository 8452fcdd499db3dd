from datetime import UTC, datetime

from builders import manifest
from fake_kube import FakeKube
from pilothouse.act.events import Events
from pilothouse.errors import Terminal
from pilothouse.names import Reason
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.types import Event

NOW = datetime(2026, 11, 23, 12, 0, 0, 250, tzinfo=UTC)
READY = Event("Normal", Reason.READY, "serves")
STARTING = Event("Normal", Reason.STARTING, "0 of 2 pods are ready")


def events(kube: FakeKube) -> Events:
    """Events at a fixed time."""
    return Events(kube, "pilothouse-0", lambda: NOW)


async def test_an_event_tells_whom_it_is_about_and_why() -> None:
    kube = FakeKube()
    await events(kube).post(manifest(), READY)
    body = kube.bodies[0]
    assert body["regarding"] == {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "ModelDeployment",
        "namespace": "team-ide",
        "name": "qwen-coder",
        "uid": "u1",
    }
    assert (body["type"], body["reason"], body["note"]) == ("Normal", "Ready", "serves")
    assert body["eventTime"] == "2026-11-23T12:00:00.000250Z"
    assert body["metadata"]["namespace"] == "team-ide"


async def test_the_same_event_is_told_once() -> None:
    kube = FakeKube()
    teller = events(kube)
    for event in (READY, READY, STARTING, READY):
        await teller.post(manifest(), event)
    assert [body["reason"] for body in kube.bodies] == ["Ready", "Starting", "Ready"]


async def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    kube = FakeKube()
    await events(kube).post(manifest(), Event("Warning", Reason.MODEL_LOAD_FAILED, "x" * 5000))
    assert len(kube.bodies[0]["note"]) == 1024


async def test_an_event_that_is_refused_costs_nothing_else() -> None:
    kube = FakeKube()

    def refuse(_: str, __: ObjectKey) -> None:
        raise Terminal("forbidden")

    kube.before = refuse
    await events(kube).post(manifest(), READY)
