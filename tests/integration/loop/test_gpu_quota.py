"""GPUs of a tenant, held on a real API server: by the operator, and behind it by a native ResourceQuota."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from builders import OTHER_COMMIT, manifest
from harness.shell import HarnessError, wait_for
from integration.loop.conftest import LANE
from integration.loop.control_plane import ControlPlane
from integration.loop.process import OperatorProcess
from integration.loop.team import Object, Team

LIMIT = 16
CROWD = 200


@pytest.fixture
def quota(plane: ControlPlane, team: Team) -> Iterator[str]:
    """A TenantQuota of 16 GPUs for the team's namespace, by its name."""
    _limit(plane, team, LIMIT)
    yield team.namespace
    plane.kubectl("delete", "tq", team.namespace)


def _limit(plane: ControlPlane, team: Team, total: int, **spec: Any) -> None:
    obj = {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": team.namespace},
        "spec": {"namespaces": [team.namespace], "gpus": {"total": total}, **spec},
    }
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(obj))


def _declare(team: Team, *names: str, **spec: Any) -> None:
    """Declare models without a route, all in one request of kubectl."""
    objects = []
    for name in names:
        obj = manifest({"route": None, **spec})
        obj["metadata"] = {"name": name, "namespace": team.namespace}
        objects.append(obj)
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    team.kubectl("create", "--filename=-", stdin=json.dumps(listed))


def _items(team: Team, kind: str) -> list[Object]:
    items: list[Object] = json.loads(team.kubectl("get", kind, "--output=json"))["items"]
    return items


def _asked(team: Team) -> int:
    return sum(obj["spec"]["replicas"] for obj in _items(team, "deployments"))


def _pods(team: Team) -> int:
    return len(_items(team, "pods"))


def _status(plane: ControlPlane, name: str) -> Object:
    obj: Object = json.loads(plane.kubectl("get", "tq", name, "--output=json"))
    return obj.get("status", {})


def _gpu_pod(name: str, gpus: int) -> Object:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    containers = [{"name": "c", "image": "none", "resources": resources}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}}


def test_two_hundred_at_once_never_get_more_than_the_limit(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str
) -> None:
    assert operator.is_running
    names = [f"m{number:03}" for number in range(CROWD)]
    _declare(team, *names, replicas=1)
    seen = []

    def everybody_is_looked_at() -> bool:
        seen.append(max(_asked(team), _pods(team)))
        status = _status(plane, quota)
        waiting = {entry["name"] for entry in status.get("waiting", [])}
        return len(_items(team, "deployments")) == CROWD and len(waiting) == CROWD - LIMIT

    wait_for("all to run or wait", everybody_is_looked_at, seconds=180)
    wait_for("the pods", lambda: _pods(team) == LIMIT)
    assert max(seen) <= LIMIT
    assert _asked(team) == LIMIT
    positions = [entry["position"] for entry in _status(plane, quota)["waiting"]]
    assert positions == list(range(1, CROWD - LIMIT + 1))

    first = _status(plane, quota)["waiting"][0]["name"]
    assert team.condition("QuotaReserved", first) == ("False", "WaitingForQuota")
    runs = next(obj for obj in _items(team, "deployments") if obj["spec"]["replicas"])
    team.kubectl("delete", "md", runs["metadata"]["labels"]["pilothouse.dev/deployment"])
    wait_for("the next one", lambda: team.condition("QuotaReserved", first) == ("True", "QuotaReserved"))
    assert _asked(team) <= LIMIT


def test_scaling_holds_at_the_limit_and_a_lowered_limit_takes_nothing(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str
) -> None:
    assert operator.is_running
    _declare(team, "qwen", replicas=4)
    wait_for("four pods", lambda: _pods(team) == 4)
    team.kubectl("scale", "md/qwen", "--replicas=40")
    wait_for("the hold", lambda: team.condition("QuotaReserved", "qwen") == ("False", "QuotaExceeded"))
    wait_for("as many pods as are allowed", lambda: _pods(team) == LIMIT)

    _limit(plane, team, 2)
    wait_for("the new limit", lambda: _status(plane, quota).get("gpus", {}).get("limit") == 2)
    _declare(team, "late", replicas=1)
    wait_for("the newcomer", lambda: team.condition("QuotaReserved", "late") == ("False", "WaitingForQuota"))
    assert _pods(team) == LIMIT


def test_what_goes_around_the_operator_is_stopped_and_counted(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str
) -> None:
    assert operator.is_running
    behind = f"pilothouse-{quota}"
    wait_for("the ResourceQuota", lambda: "hard" in team.get("resourcequota", behind).get("status", {}))
    with pytest.raises(HarnessError, match="exceeded quota"):
        team.apply(_gpu_pod("too-large", LIMIT + 1))
    team.apply(_gpu_pod("guest", 15))
    wait_for("the guest to count", lambda: _status(plane, quota)["gpus"]["used"] == 15)

    _declare(team, "qwen", replicas=2)
    wait_for("the wait", lambda: team.condition("QuotaReserved", "qwen") == ("False", "WaitingForQuota"))
    wait_for("the GPU that is free", lambda: _asked(team) == 1)


def test_a_rollout_on_a_full_quota_swaps_pods_and_the_resource_quota_lets_it(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str
) -> None:
    assert operator.is_running
    _limit(plane, team, 2)
    _declare(team, "qwen", replicas=2)
    wait_for("the pods", lambda: _pods(team) == 2)
    team.make_ready()
    wait_for("a model that serves", lambda: team.condition("Ready", "qwen") == ("True", "Ready"))

    checkpoint = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
    team.kubectl("patch", "md", "qwen", "--type=merge", f"--patch={json.dumps({'spec': checkpoint})}")
    wait_for("the swap", lambda: [obj["spec"]["replicas"] for obj in _items(team, "deployments")] == [1, 1])
    wait_for("the canary's pod", lambda: _pods(team) == 2)
    assert _status(plane, quota)["gpus"]["limit"] == 2
    assert team.get("md", "qwen")["status"]["rollout"]["capacity"] == "InPlace"
    assert "exceeded quota" not in json.dumps(_items(team, "deployments"))


@pytest.fixture
def synthesis(plane: ControlPlane) -> Iterator[str]:
    """A second lane, by its name."""
    lane = {**LANE, "metadata": {"name": "synthesis"}}
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(lane))
    yield "synthesis"
    plane.kubectl("delete", "qc", "synthesis")


def _asked_by_lane(team: Team) -> dict[str, int]:
    asked: Counter[str] = Counter()
    for obj in _items(team, "deployments"):
        lane = obj["spec"]["template"]["metadata"]["labels"]["pilothouse.dev/queue-class"]
        asked[lane] += obj["spec"]["replicas"]
    return dict(+asked)


def test_one_that_never_served_leaves_its_lane_and_waits_for_the_other(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str, synthesis: str
) -> None:
    assert operator.is_running
    _limit(plane, team, 4, gpus={"total": 4, "perQueueClass": {"completion": 2}})
    _declare(team, "here", replicas=2)
    _declare(team, "comes", replicas=2, queueClassName=synthesis)
    wait_for("all pods", lambda: _asked_by_lane(team) == {"completion": 2, synthesis: 2})

    team.kubectl("patch", "md", "comes", "--type=merge", '--patch={"spec":{"queueClassName":"completion"}}')
    wait_for("the wait", lambda: team.condition("QuotaReserved", "comes") == ("False", "WaitingForQuota"))
    wait_for("the lane that it left", lambda: _asked_by_lane(team) == {"completion": 2})
    _declare(team, "other", replicas=2, queueClassName=synthesis)
    wait_for("who takes its GPUs", lambda: _asked_by_lane(team) == {"completion": 2, synthesis: 2})
    assert [entry["name"] for entry in _status(plane, quota)["waiting"]] == ["comes"]

    team.kubectl("delete", "md", "here", "other")
    wait_for("its turn", lambda: team.condition("QuotaReserved", "comes") == ("True", "QuotaReserved"))
    assert _asked_by_lane(team) == {"completion": 2}


def test_kueue_is_given_the_pods_where_the_quota_names_its_queue(
    operator: OperatorProcess, team: Team, plane: ControlPlane, quota: str
) -> None:
    assert operator.is_running
    _limit(plane, team, LIMIT, queueName="models")
    wait_for("the ResourceQuota to go", lambda: _items(team, "resourcequotas") == [])
    _declare(team, "qwen", replicas=40)
    wait_for("the word", lambda: team.condition("QuotaReserved", "qwen") == ("Unknown", "KueueAdmits"))
    wait_for("all pods", lambda: _asked(team) == 40)
    [deployment] = _items(team, "deployments")
    assert deployment["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "models"
    assert quota
