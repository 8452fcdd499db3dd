"""The command line on a real cluster: it reports what serves, finds lies, and prints pins that hold."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import yaml

from e2e.hub import Repository
from e2e.manifests import COMMIT, OTHER_COMMIT, Object, fresh_commit, model
from e2e.program import DIFFERS, Pilothouse, Said, findings, of_pod
from e2e.team import Team
from harness.components import PAUSE
from harness.shell import wait_for
from pilothouse.names import DEPLOYMENT, ENGINE_CONTAINER, MANAGED_BY, MANAGED_BY_VALUE, REVISION


@pytest.fixture(scope="module")
def moments(team: Team) -> dict[str, datetime]:
    """`served` serves a second revision; when there was none yet, and when the first one served."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    team.apply(team.model("served"), team.model("other"))
    team.wait_ready("served", "other")
    first = datetime.now(UTC)
    team.apply(team.model("served", model=model(OTHER_COMMIT)))
    team.wait_ready("served")
    return {"before": before, "first": first}


def rows(said: Said) -> list[Object]:
    """The rows of a report, the first revision of `served` alone."""
    assert said.returncode == 0, said.stderr
    return [row for row in json.loads(said.stdout)["rows"] if row["deployment"] == "served"]


@pytest.mark.usefixtures("moments")
def test_a_report_says_who_serves_what_under_which_license(pilothouse: Pilothouse, team: Team) -> None:
    [row] = rows(pilothouse("report", "--output=json"))

    assert row["checkpointSource"] == model()["checkpoint"]["source"]
    assert row["checkpointRevision"] == OTHER_COMMIT
    assert row["licenseID"] == "Apache-2.0"
    assert row["revision"] == team.get("md", "served")["status"]["stable"]["revision"]
    assert (row["state"], row["readyReplicas"]) == ("stable", 1)


@pytest.mark.usefixtures("moments")
def test_a_report_for_a_spreadsheet_has_the_same_rows(pilothouse: Pilothouse) -> None:
    [row] = rows(pilothouse("report", "--output=json"))
    table = csv.DictReader(io.StringIO(pilothouse("report", "--output=csv").stdout))
    [found] = [line for line in table if line["deployment"] == "served"]

    assert found == {key: "" if value is None else str(value) for key, value in row.items()}


@pytest.mark.usefixtures("moments")
def test_a_report_for_a_terminal_has_one_line_for_each_model(pilothouse: Pilothouse) -> None:
    header, *lines = pilothouse("report").stdout.splitlines()

    assert header.split()[:3] == ["NAMESPACE", "DEPLOYMENT", "MODEL"]
    assert sorted(line.split()[1] for line in lines) == ["other", "served"]


def test_a_report_of_a_past_moment_says_what_served_then(
    pilothouse: Pilothouse, moments: dict[str, datetime]
) -> None:
    first = f"--as-of={moments['first'].isoformat()}"
    before = f"--as-of={moments['before'].isoformat()}"

    assert [row["checkpointRevision"] for row in rows(pilothouse("report", first, "--output=json"))] == [
        COMMIT
    ]
    assert rows(pilothouse("report", before, "--output=json")) == []


@pytest.mark.usefixtures("moments")
def test_what_serves_as_declared_is_verified(pilothouse: Pilothouse, team: Team) -> None:
    wait_for("the former pod to go", lambda: len(team.all("pods", f"{DEPLOYMENT}=served")) == 1, seconds=90)
    said = pilothouse("verify", "served", "--output=json")
    [pod] = json.loads(said.stdout)["pods"]

    assert said.returncode == 0, said.stdout
    assert {check["verdict"] for check in pod["checks"]} == {"Agrees"}
    assert {check["name"] for check in pod["checks"]} >= {"manifest.checkpoint.revision", "settings", "guard"}


@pytest.mark.usefixtures("moments")
async def test_an_engine_that_serves_another_model_is_found(pilothouse: Pilothouse, team: Team) -> None:
    [pod] = team.pods("other")
    faults = f"http://{pod['status']['podIP']}:8000/sim/faults"
    async with aiohttp.ClientSession() as http:
        async with http.post(faults, json={"model_name": "another"}) as answer:
            answer.raise_for_status()
        said = pilothouse("verify", "other", "--output=json")
        async with http.delete(faults) as answer:
            answer.raise_for_status()

    assert said.returncode == DIFFERS
    assert findings(of_pod(said, "other-")) == {"servedModel"}


@pytest.mark.usefixtures("moments")
def test_a_pod_that_pretends_to_be_of_a_model_is_found(pilothouse: Pilothouse, team: Team) -> None:
    revision = team.get("md", "other")["status"]["stable"]["revision"]
    labels = {MANAGED_BY: MANAGED_BY_VALUE, DEPLOYMENT: "other", REVISION: revision}
    spec = {"containers": [{"name": ENGINE_CONTAINER, "image": PAUSE}]}
    metadata = {"name": "liar", "labels": labels}
    team.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    team.wait("--for=condition=Ready", "pod/liar")
    said = pilothouse("verify", "other", "--output=json")
    team.kubectl("delete", "pod", "liar", "--wait=false")

    assert said.returncode == DIFFERS
    assert findings(of_pod(said, "liar")) >= {"pod.image", "pod.arguments"}
    assert of_pod(said, "other-")["verdict"] == "Agrees"


def test_what_was_pinned_by_the_program_holds_on_the_cluster(
    pilothouse: Pilothouse, team: Team, hub_url: str
) -> None:
    repository = Repository.fresh(hub_url)
    said = pilothouse("pin", f"hf://{repository.name}@{fresh_commit()}")
    assert said.returncode == 0, said.stderr
    pinned: dict[str, Any] = yaml.safe_load(said.stdout)["model"]
    assert pinned["license"]["textDigest"]
    assert pinned["tokenizer"]["fingerprint"]

    team.apply(team.model("pinned", model={"name": "qwen2.5-coder-7b"} | pinned))
    team.wait_ready("pinned")
    assert pilothouse("verify", "pinned").returncode == 0
