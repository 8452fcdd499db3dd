"""The main thing, with nothing simulated but the GPU: a pinned model, fetched, on the real vLLM, guarded."""

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml

from e2e.hub import Repository
from e2e.manifests import MODEL, Object, fresh_commit, model_deployment
from e2e.program import pilothouse
from e2e.team import Team
from e2e.traffic import ask, finish_reason, streamed
from harness import cluster
from harness.logs import generations
from harness.real_vllm import image
from harness.shell import wait_for
from pilothouse.names import ENGINE_CONTAINER, ENGINE_PORT, GuardPath, Header, Reason
from pilothouse.plan.probes import fingerprint

NAME = "coder"
# A pod gets one core of the test's machine, and the engine imports PyTorch with it.
READY_SECONDS = 900
pytestmark = pytest.mark.timeout(2 * READY_SECONDS)

ENGINE = {"image": image.NAME, "dtype": "float32", "extraArgs": ["--enforce-eager"]}
RESOURCES = {"gpu": {"count": 0}, "cpu": "1", "memory": "6Gi"}
USAGE = {"include_usage": True}
PROMPT = "def fibonacci(n):  # 数列, naïve\n" * 20


@dataclass(frozen=True)
class Pinned:
    """A repository of the cluster's hub, and what `pilothouse pin` says of it: by tokenizers alone."""

    repository: Repository
    model: Object

    @property
    def commit(self) -> str:
        return str(self.model["checkpoint"]["revision"])

    @property
    def fingerprint(self) -> str:
        return str(self.model["tokenizer"]["fingerprint"])


def pinned(kubeconfig: Path, hub_url: str, tokenizer: str) -> Pinned:
    """Pin a model that a real engine can load, with this tokenizer."""
    repository = Repository.fresh(hub_url)
    repository.fault(loadable=True, tokenizer=tokenizer)
    said = pilothouse(kubeconfig, hub_url, "pin", f"hf://{repository.name}@{fresh_commit()}")
    assert said.returncode == 0, said.stderr
    return Pinned(repository, {"name": MODEL} | yaml.safe_load(said.stdout)["model"])


@pytest.fixture(scope="module")
def pins(kubeconfig: Path, hub_url: str) -> Pinned:
    return pinned(kubeconfig, hub_url, "qwen2")


@pytest.fixture(scope="module")
def team(teams: Callable[[], Team], pins: Pinned) -> Team:
    """A team whose model serves."""
    cluster.add(image.image())
    team = teams()
    spec = {"model": pins.model, "engine": ENGINE, "resources": RESOURCES}
    team.apply(model_deployment(NAME, team.namespace, team.lane, **spec))
    team.wait_ready(NAME, seconds=READY_SECONDS)
    return team


@pytest.fixture
def url(team: Team, gateway_url: str) -> str:
    return f"{gateway_url}/{team.namespace}/{NAME}/v1"


def page(team: Team, path: str) -> Object:
    """What the guard of the model's pod answers."""
    [pod] = team.pods(NAME)
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{ENGINE_PORT}{path}") as answer:
        found: Object = json.load(answer)
        return found


def line(team: Team, request_id: str) -> Object:
    """The guard's line of a request, which is written once its answer is out."""
    [pod] = team.pods(NAME)
    found: list[Object] = []

    def logged() -> bool:
        log = team.kubectl("logs", pod["metadata"]["name"], f"--container={ENGINE_CONTAINER}")
        found[:] = [line for line in generations(log) if line["requestId"] == request_id]
        return bool(found)

    wait_for(f"the line of {request_id}", logged)
    [only] = found
    return only


async def test_a_completion_streams_through_the_gateway(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        chunks = await streamed(http, url, max_tokens=32, stream_options=USAGE)

    assert finish_reason(chunks) == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 32


async def test_answer_and_line_have_the_pins_and_the_engines_own_counts(
    url: str, team: Team, pins: Pinned
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/completions", json=ask(prompt=PROMPT)) as answer,
    ):
        usage = (await answer.json())["usage"]
    logged = line(team, answer.headers[Header.REQUEST_ID])

    assert answer.headers[Header.REVISION] == team.get("md", NAME)["status"]["stable"]["revision"]
    assert answer.headers[Header.MODEL_REVISION] == pins.commit
    assert answer.headers[Header.TOKENIZER_REVISION] == pins.commit
    assert answer.headers[Header.LICENSE_ID] == "Apache-2.0"
    assert logged["revision"] == answer.headers[Header.REVISION]
    assert logged["modelRevision"] == logged["tokenizerRevision"] == pins.commit
    assert (logged["tokensIn"], logged["tokensOut"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert logged["exact"]


async def test_the_engine_serves_the_pinned_name(url: str, pins: Pinned) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/models") as answer:
        [model] = (await answer.json())["data"]

    assert model["id"] == MODEL
    assert model["root"] == pins.repository.name


def test_the_status_shows_the_pinned_revision(team: Team, pins: Pinned) -> None:
    status = team.get("md", NAME)["status"]

    assert status["stable"]["checkpointRevision"] == pins.commit


def test_the_engine_loads_what_the_fetch_brought_and_asks_no_hub(team: Team, pins: Pinned) -> None:
    [artifact] = page(team, GuardPath.ABOUT)["manifest"]["artifacts"]

    assert artifact["source"] == f"hf://{pins.repository.name}"
    assert artifact["revision"] == pins.commit
    assert "model.safetensors" in {file["path"] for file in artifact["files"]}
    assert pins.repository.asked("model.safetensors") == {"heads": 0, "gets": 1}


def test_the_engine_cuts_the_probe_texts_as_the_pinned_fingerprint_says(team: Team, pins: Pinned) -> None:
    assert fingerprint(page(team, GuardPath.PROBES)["tokens"]) == pins.fingerprint


def test_all_that_can_be_verified_agrees(kubeconfig: Path, hub_url: str, team: Team) -> None:
    where = ("--namespace", team.namespace)
    said = pilothouse(kubeconfig, hub_url, "verify", *where, NAME, "--output=json")
    [pod] = json.loads(said.stdout)["pods"]

    assert said.returncode == 0, said.stdout
    assert {check["verdict"] for check in pod["checks"]} == {"Agrees"}


def test_a_tokenizer_that_transformers_reads_otherwise_than_its_file_says_starts_no_engine(
    kubeconfig: Path, hub_url: str, team: Team
) -> None:
    other = pinned(kubeconfig, hub_url, "code")
    spec = {"model": other.model, "engine": ENGINE, "resources": RESOURCES | {"cpu": "200m", "memory": "2Gi"}}
    team.apply(model_deployment("misread", team.namespace, team.lane, **spec))
    team.wait_reason("misread", Reason.TOKENIZER_CHANGED, seconds=READY_SECONDS)

    message = team.condition("misread")["message"]
    assert "by transformers 5" in message
    assert other.fingerprint in message
    assert not team.engine_started("misread")
