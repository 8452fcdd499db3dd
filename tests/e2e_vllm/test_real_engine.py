"""The main thing, with nothing simulated but the GPU: a pinned model on the real vLLM, behind a gateway."""

from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from e2e.manifests import MODEL, model_deployment
from e2e.team import Team
from e2e.traffic import finish_reason, streamed
from harness import cluster
from harness.real_vllm import image, paths

NAME = "coder"
# A pod gets one core of the test's machine, and the engine imports PyTorch with it.
READY_SECONDS = 900
pytestmark = pytest.mark.timeout(2 * READY_SECONDS)

TINY = {
    "name": MODEL,
    "checkpoint": {"source": f"hf://{paths.MODEL_NAME}", "revision": paths.MODEL_REVISION},
    "tokenizer": {"revision": paths.MODEL_REVISION},
    "license": {"id": "Apache-2.0"},
}
ENGINE = {"image": image.NAME, "dtype": "float32", "extraArgs": ["--enforce-eager"]}
RESOURCES = {"gpu": {"count": 0}, "cpu": "1", "memory": "6Gi"}


@pytest.fixture(scope="module")
def team(kubeconfig: Path, teams: Callable[[], Team]) -> Team:
    """A team whose model serves."""
    assert kubeconfig.exists()
    cluster.add(image.image())
    team = teams()
    spec = {"model": TINY, "engine": ENGINE, "resources": RESOURCES}
    team.apply(model_deployment(NAME, team.namespace, team.lane, **spec))
    team.wait_ready(NAME, seconds=READY_SECONDS)
    return team


@pytest.fixture
def url(team: Team, gateway_url: str) -> str:
    return f"{gateway_url}/{team.namespace}/{NAME}/v1"


async def test_a_completion_streams_through_the_gateway(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        chunks = await streamed(http, url, max_tokens=32, stream_options={"include_usage": True})

    assert finish_reason(chunks) == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 32


async def test_the_engine_serves_the_pinned_name(url: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/models") as answer:
        [model] = (await answer.json())["data"]

    assert model["id"] == MODEL
    assert model["root"] == paths.MODEL_NAME


def test_the_status_shows_the_pinned_revision(team: Team) -> None:
    status = team.get("md", NAME)["status"]

    assert status["stable"]["checkpointRevision"] == paths.MODEL_REVISION
