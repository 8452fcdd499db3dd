from pilothouse.names import DEPLOYMENT, REVISION
from pilothouse.observe.endpoints import reachable
from pilothouse.plan.observed import Object

STABLE, CANARY = "aaaaaaaaaa", "bbbbbbbbbb"


def endpoint(pod: str, **conditions: bool) -> Object:
    """A pod as a slice names it."""
    return {"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "uid": pod}}


def slice_of(revision: str | None, *endpoints: Object) -> Object:
    """A slice with the labels of its Service; the stable Service has no revision."""
    labels = {DEPLOYMENT: "qwen-coder"} | ({REVISION: revision} if revision else {})
    return {"metadata": {"labels": labels}, "endpoints": list(endpoints)}


def test_ready_pods_are_counted_by_revision() -> None:
    slices = [
        slice_of(STABLE, endpoint("a", ready=True), endpoint("b", ready=False)),
        slice_of(STABLE, endpoint("c", ready=True)),
        slice_of(CANARY),
        slice_of(None, endpoint("a", ready=True)),
    ]

    assert reachable(slices) == {STABLE: 2, CANARY: 0}


def test_a_pod_with_two_addresses_is_one() -> None:
    assert reachable([slice_of(CANARY, endpoint("a", ready=True)) for _ in ("IPv4", "IPv6")]) == {CANARY: 1}


def test_an_endpoint_that_does_not_say_is_ready() -> None:
    assert reachable([slice_of(CANARY, endpoint("a"))]) == {CANARY: 1}


def test_an_empty_slice_names_nobody() -> None:
    assert reachable([{**slice_of(CANARY), "endpoints": None}]) == {CANARY: 0}
