"""Ready is right in every case, and says why it is not: `kubectl wait --for=condition=Ready` can be trusted.

All models are declared at once and each test looks at one of them, so that their waits overlap.
"""

import json
from collections.abc import Callable, Iterator

import aiohttp
import pytest

from e2e.manifests import (
    IMAGE,
    OTHER_COMMIT,
    SMALL,
    Object,
    engine,
    model,
    model_deployment,
    queue_class,
    route,
)
from e2e.team import READY, Team
from e2e.traffic import streamed
from harness.shell import HarnessError
from pilothouse.names import Reason

GPUS = SMALL | {"gpu": {"count": 64}}
TOKEN = {"secretRef": {"name": "hf-token"}}


@pytest.fixture(scope="module", autouse=True)
def declared(team: Team) -> None:
    """Every model of this file."""

    def declare(name: str, **spec: object) -> Object:
        return model_deployment(name, team.namespace, team.lane, **spec)

    gated = model() | {"checkpoint": model()["checkpoint"] | TOKEN}
    hosts = {
        name: route(name, team.namespace, f"{team.namespace}-late") for name in ("late-gateway", "refused")
    }
    team.apply(
        declare("crashing", engine=engine(crash_at_load=True)),
        declare("served-then-crashed", engine=engine(crash_after_requests=1)),
        declare("no-image", engine=engine("pilothouse.dev/nowhere:v0.32.0")),
        declare("no-gpu", resources=GPUS),
        declare("no-lane", queueClassName=f"{team.namespace}-late"),
        declare("late-gateway", route=hosts["late-gateway"] | {"hostnames": ["models.example.com"]}),
        declare("refused", route=hosts["refused"] | {"hostnames": ["other.example.com"]}),
        declare("slow", engine=engine(load_seconds=12)),
        declare("owned-flag", engine=engine() | {"extraArgs": ["--max_model_len=8"]}),
        declare("gated", model=gated),
        declare("edited"),
        declare("replaced"),
    )


@pytest.fixture
def late_gateway(kubectl: Callable[..., str], team: Team) -> Iterator[Callable[[], None]]:
    """Create the Gateway that `late-gateway` and `refused` name; it serves one host."""
    name = f"{team.namespace}-late"
    listener = {"name": "http", "protocol": "HTTP", "port": 80, "hostname": "models.example.com"}
    infrastructure = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "models"}
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "gateways"},
        "spec": {
            "gatewayClassName": "envoy",
            "infrastructure": {"parametersRef": infrastructure},
            "listeners": [listener | {"allowedRoutes": {"namespaces": {"from": "All"}}}],
        },
    }
    yield lambda: kubectl("apply", "--filename=-", input=json.dumps(gateway))
    kubectl("--namespace=gateways", "delete", "gateway", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def late_lane(kubectl: Callable[..., str], team: Team) -> Iterator[Callable[[], None]]:
    """Create the QueueClass that `no-lane` names."""
    name = f"{team.namespace}-late"
    yield lambda: kubectl("apply", "--filename=-", input=json.dumps(queue_class(name)))
    kubectl("delete", "queueclass", name, "--ignore-not-found")


def test_a_slow_load_is_no_failure(team: Team) -> None:
    team.wait_reason("slow", Reason.STARTING)
    assert team.condition("slow", "Stalled")["status"] == "False"

    team.wait_ready("slow")


def test_an_engine_that_crashes_while_loading_is_said_with_its_exit_code(team: Team) -> None:
    team.wait_reason("crashing", Reason.MODEL_LOAD_FAILED)

    assert "code 1" in team.condition("crashing")["message"]
    assert team.condition("crashing", "Stalled")["status"] == "True"


def test_a_missing_image_is_said_by_its_name(team: Team) -> None:
    team.wait_reason("no-image", Reason.IMAGE_PULL_FAILED)

    assert "pilothouse.dev/nowhere:v0.32.0" in team.condition("no-image")["message"]


def test_missing_gpus_are_said(team: Team) -> None:
    team.wait_reason("no-gpu", Reason.INSUFFICIENT_GPU)

    assert "nvidia.com/gpu" in team.condition("no-gpu")["message"]


def test_a_flag_that_the_operator_owns_is_named_and_no_pod_starts(team: Team) -> None:
    team.wait_reason("owned-flag", Reason.ARGUMENT_NOT_ALLOWED)

    assert "--max-model-len" in team.condition("owned-flag")["message"]
    assert not team.children("owned-flag")


def test_a_missing_secret_is_named_and_ready_follows_when_it_comes(team: Team) -> None:
    team.wait_reason("gated", Reason.CONTAINER_CONFIG_INVALID)
    assert 'secret "hf-token" not found' in team.condition("gated")["message"]

    team.kubectl("create", "secret", "generic", "hf-token", "--from-literal=HF_TOKEN=hf_abc")

    team.wait_ready("gated")


def test_a_missing_lane_is_named_and_ready_follows_when_it_comes(
    team: Team, late_lane: Callable[[], None]
) -> None:
    team.wait_reason("no-lane", Reason.QUEUE_CLASS_NOT_FOUND)
    assert f"{team.namespace}-late" in team.condition("no-lane")["message"]

    late_lane()

    team.wait_ready("no-lane")


def test_a_gateway_that_comes_late_carries_the_route_that_fits_and_refuses_the_other(
    team: Team, late_gateway: Callable[[], None]
) -> None:
    team.wait_reason("late-gateway", Reason.GATEWAY_NOT_FOUND)
    assert f"gateways/{team.namespace}-late" in team.condition("late-gateway")["message"]

    late_gateway()

    team.wait_ready("late-gateway")
    team.wait_reason("refused", Reason.ROUTE_NOT_ACCEPTED)


def test_a_full_resource_quota_is_said_and_ready_follows_when_there_is_room(
    teams: Callable[[], Team],
) -> None:
    team = teams()
    team.kubectl("create", "quota", "small", "--hard=pods=0")
    team.apply(model_deployment("over-quota", team.namespace, team.lane))

    team.wait_reason("over-quota", Reason.QUOTA_EXCEEDED)
    team.kubectl("delete", "quota", "small")

    team.wait_ready("over-quota")


async def test_an_engine_that_crashes_after_it_has_served_is_told_apart_and_comes_back(
    team: Team, gateway_url: str
) -> None:
    team.wait_ready("served-then-crashed")
    url = f"{gateway_url}/{team.namespace}/served-then-crashed/v1"
    async with aiohttp.ClientSession() as http:
        await streamed(http, url)
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await streamed(http, url)

    team.wait_reason("served-then-crashed", Reason.ENGINE_CRASHED)

    team.wait_ready("served-then-crashed")


def test_ready_of_the_generation_before_an_edit_does_not_count(team: Team) -> None:
    team.wait_ready("edited")
    team.apply(
        model_deployment("edited", team.namespace, team.lane, engine=engine("pilothouse.dev/nowhere:v0.32.0"))
    )

    with pytest.raises(HarnessError, match="timed out"):
        team.wait_ready("edited", seconds=5)
    team.apply(model_deployment("edited", team.namespace, team.lane, engine=engine(IMAGE)))

    team.wait_ready("edited")


def test_a_revision_that_can_not_start_leaves_the_former_one_serving(team: Team) -> None:
    team.wait_ready("replaced")
    before = team.get("md", "replaced")["status"]["stable"]
    team.apply(model_deployment("replaced", team.namespace, team.lane, engine=engine(crash_at_load=True)))

    team.wait_reason("replaced", Reason.MODEL_LOAD_FAILED)

    assert team.get("md", "replaced")["status"]["stable"].items() >= before.items()
    assert f"revision {before['revision']} serves on" in team.condition("replaced")["message"]


def test_after_an_edit_ready_means_that_the_new_revision_serves(teams: Callable[[], Team]) -> None:
    team = teams()
    team.apply(team.model("repinned"))
    team.wait_ready("repinned")
    team.apply(team.model("repinned", model=model(OTHER_COMMIT)))

    team.wait_ready("repinned")

    stable = team.get("md", "repinned")["status"]["stable"]
    assert (stable["checkpointRevision"], stable["readyReplicas"]) == (OTHER_COMMIT, 1)
    assert team.kubectl("get", "md", "repinned", f"--output=jsonpath={READY}") == "True"
