"""Behind a listener that ends TLS a model streams, and its address is one of https."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from yarl import URL

from e2e.callers import GATEWAYS
from e2e.manifests import model_deployment, route
from e2e.team import DEADLINE, Team
from e2e.traffic import ask, events
from harness import gateway
from harness.authority import Authority
from harness.shell import wait_for

NAME = "sealed"
HOST = "models.example"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def sealed(
    kubeconfig: Path, kubectl: Callable[..., str], authority: Authority, tmp_path: Path
) -> Iterator[str]:
    """A Gateway with one listener, for https; by its name."""
    name = f"tls-{uuid4().hex[:8]}"
    authority.issue(HOST)
    own = ("--namespace", GATEWAYS)
    files = (f"--cert={tmp_path / f'{HOST}.crt'}", f"--key={tmp_path / f'{HOST}.key'}")
    kubectl(*own, "create", "secret", "tls", name, *files)
    made = json.loads(kubectl(*own, "get", "gateway", gateway.NAME, "--output=json"))
    tls = {"certificateRefs": [{"name": name}]}
    listener = {**made["spec"]["listeners"][0], "name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}
    copy = {key: made[key] for key in ("apiVersion", "kind")} | {
        "metadata": {"name": name, "namespace": GATEWAYS}
    }
    copy["spec"] = {**made["spec"], "listeners": [listener]}
    kubectl("apply", "--filename=-", input=json.dumps(copy))
    wait_for("Envoy", lambda: gateway.is_ready(kubeconfig, name), seconds=DEADLINE, pause=0.5)
    yield name
    kubectl(*own, "delete", f"gateway/{name}", f"secret/{name}")


async def test_a_model_streams_over_the_tls_of_its_listener(
    kubeconfig: Path, sealed: str, authority: Authority, team: Team
) -> None:
    team.apply(model_deployment(NAME, team.namespace, team.lane, route=route(NAME, team.namespace, sealed)))
    team.wait_ready(NAME)
    address = URL(gateway.url(kubeconfig, sealed)).with_scheme("https").with_port(443)
    trusted = ssl.create_default_context(cadata=authority.certificate)

    assert team.get("md", NAME)["status"]["url"].startswith("https://")
    url = address / team.namespace / NAME / "v1/completions"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, json=ask(stream=True), ssl=trusted, server_hostname=HOST) as answer,
    ):
        assert answer.status == 200
        assert [event async for event in events(answer)][-1] == "[DONE]"
