"""A declared model answers through the gateway, and nothing but the generation paths does."""

import json

import aiohttp
import pytest
from yarl import URL

from e2e.engines import RUNNING
from e2e.manifests import COMMIT, MODEL, model_deployment
from e2e.team import Team
from e2e.traffic import ask, events, finish_reason, streamed
from harness.metrics import parse
from pilothouse import names

NAME = "coder"
# 20 ms a token: a stream is long enough to be looked at while it runs.
SLOW = {"image": "pilothouse.dev/vllm-sim:v0.32.0", "env": [{"name": "VLLM_SIM_DECODE_MS", "value": "20"}]}


@pytest.fixture(scope="module", autouse=True)
def ready(team: Team) -> None:
    team.apply(model_deployment(NAME, team.namespace, team.lane, engine=SLOW))
    team.wait_ready(NAME)


@pytest.fixture(scope="module")
def prefix(team: Team, gateway_url: str) -> str:
    return f"{gateway_url}/{team.namespace}/{NAME}"


@pytest.fixture(scope="module")
def pod(team: Team) -> str:
    [pod] = team.pods(NAME)
    return pod["metadata"]["name"]


def in_pod(team: Team, pod: str, *command: str) -> str:
    return team.kubectl("exec", pod, "--container=engine", "--", *command)


def running(team: Team, pod: str) -> float:
    """Requests that the engine works on, by its own metrics."""
    page = team.kubectl("get", "--raw", f"/api/v1/namespaces/{team.namespace}/pods/{pod}:8000/proxy/metrics")
    return parse(page).value(RUNNING)


async def test_tokens_reach_the_caller_while_the_engine_is_still_generating(
    team: Team, pod: str, prefix: str
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{prefix}/v1/completions", json=ask(stream=True, max_tokens=256)) as answer,
    ):
        arriving = events(answer)
        await anext(arriving)

        assert running(team, pod) == 1
        assert [event async for event in arriving][-1] == "[DONE]"


async def test_a_stream_ends_with_its_finish_reason_and_its_usage(prefix: str) -> None:
    async with aiohttp.ClientSession() as http:
        chunks = await streamed(http, f"{prefix}/v1", max_tokens=8, stream_options={"include_usage": True})

    assert finish_reason(chunks) == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 8


async def test_chat_is_answered(prefix: str) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Sort a list."}], "max_tokens": 4}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{prefix}/v1/chat/completions", json=body) as answer,
    ):
        content = await answer.json()

    assert content["choices"][0]["message"]["role"] == "assistant"


async def test_the_model_is_listed_under_its_name(prefix: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{prefix}/v1/models") as answer:
        content = await answer.json()

    assert [entry["id"] for entry in content["data"]] == [MODEL]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/health",
        "/tokenize",
        "/invocations",
        "/sim/faults",
        "/v1/embeddings",
        "/v1/completions/extra",
        "/v1/completions/../../metrics",
        "/v1/completions/%2e%2e/%2e%2e/metrics",
        "/v1/completions/..%2f..%2fmetrics",
        "//metrics",
        "/v1//tokenize",
        "/v1/models;/../../metrics",
    ],
)
async def test_no_other_path_reaches_the_engine(prefix: str, path: str, method: str) -> None:
    url = URL(f"{prefix}{path}", encoded=True)
    async with aiohttp.ClientSession() as http, http.request(method, url, allow_redirects=False) as answer:
        assert answer.status in (307, 404)
        assert "x-envoy-upstream-service-time" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/completions"])
async def test_without_its_prefix_a_model_is_not_found(gateway_url: str, path: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{gateway_url}{path}") as answer:
        assert answer.status == 404
        assert "x-envoy-upstream-service-time" not in answer.headers


def test_callers_inside_the_cluster_use_the_service_by_the_models_name(team: Team, pod: str) -> None:
    program = f"import urllib.request as r; print(r.urlopen('http://{NAME}.{team.namespace}/v1/models').read().decode())"

    assert json.loads(in_pod(team, pod, "python3", "-c", program))["data"][0]["id"] == MODEL


def test_the_list_shows_what_people_look_for(team: Team) -> None:
    header, row = team.kubectl("get", "md", NAME).splitlines()

    assert header.split() == ["NAME", "READY", "PHASE", "MODEL", "REV", "CANARY", "CLASS", "REPLICAS", "AGE"]
    assert row.split()[:4] == [NAME, "True", "Ready", MODEL]


def test_the_wide_list_adds_tokenizer_license_and_address(team: Team) -> None:
    header, row = team.kubectl("get", "md", NAME, "--output=wide").splitlines()

    assert header.split()[-4:] == ["TOKENIZER", "LICENSE", "URL", "REASON"]
    assert {COMMIT, "Apache-2.0", "Ready"} <= set(row.split())


def test_the_status_tells_what_serves_and_where(team: Team, prefix: str) -> None:
    status = team.get("md", NAME)["status"]

    assert status["url"] == f"http://{prefix.removeprefix('http://').replace(':80/', '/')}/v1"
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert status["selector"] == f"{names.DEPLOYMENT}={NAME}"
    assert status["stable"]["checkpointRevision"] == status["stable"]["tokenizerRevision"] == COMMIT
    assert status["history"][0]["revision"] == status["stable"]["revision"]


def test_every_condition_is_there_and_speaks_of_this_generation(team: Team) -> None:
    deployment = team.get("md", NAME)
    found = {entry["type"]: entry for entry in deployment["status"]["conditions"]}

    assert found.keys() == set(names.ConditionType) - {names.ConditionType.LICENSE_EXPIRING}
    assert {entry["observedGeneration"] for entry in found.values()} == {deployment["metadata"]["generation"]}


def test_the_engine_runs_without_root(team: Team, pod: str) -> None:
    assert in_pod(team, pod, "id", "-u").strip() == "2000"


def test_the_engine_has_no_token_of_the_cluster(team: Team, pod: str) -> None:
    assert "serviceaccount" not in in_pod(team, pod, "cat", "/proc/mounts")


def test_the_engines_shared_memory_is_its_own_and_in_memory(team: Team, pod: str) -> None:
    mounts = [line.split() for line in in_pod(team, pod, "cat", "/proc/mounts").splitlines()]
    [shared] = [mount for mount in mounts if mount[1] == "/dev/shm"]  # noqa: S108 -- of the pod
    size = in_pod(team, pod, "df", "--output=size", "/dev/shm").split()[-1]  # noqa: S108 -- the same

    assert shared[2] == "tmpfs"
    assert int(size) == 256 * 1024


def test_the_engine_hears_of_no_service_by_its_environment(team: Team, pod: str) -> None:
    assert f"{NAME.upper()}_SERVICE_HOST" not in in_pod(team, pod, "env")
