"""Models in images and in claims are mounted, and checked as those from the hub before an engine starts."""

import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from e2e.manifests import IMAGE, MODEL, Object
from e2e.team import Team
from e2e.traffic import finish_reason, streamed
from harness import cluster, images, oci
from harness.hub.repositories import files, main_commit, shape
from harness.paths import STATE
from pilothouse.cli.hubpins import pins_of_folder
from pilothouse.cli.pins import Found
from pilothouse.names import Reason

REPOSITORY = "team/model"
OTHERWISE: dict[str, Object] = {
    "as-pinned": {},
    "other-license": {"license_text": "Any use needs a license of our own.\n"},
    "other-tokenizer": {"tokenizer": "prose"},
}
"""What each image holds otherwise than the folder that was pinned."""
IN_CLAIM = "pvc://models/team/model"
NOWHERE = "sha256:" + "0" * 64


def in_image(name: str) -> str:
    return f"oci://pilothouse.dev/models/{name}"


def held(name: str) -> dict[str, bytes]:
    """The files of one of the images, by path."""
    found = files(REPOSITORY, main_commit(REPOSITORY), shape(REPOSITORY, **OTHERWISE[name]))
    return {path: file.content for path, file in found.items()}


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The pins of the folder that the image `as-pinned` is made of."""
    folder = tmp_path_factory.mktemp("model")
    for path, content in held("as-pinned").items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return pins_of_folder(folder)


@pytest.fixture(scope="module")
def digests(kubeconfig: Path) -> dict[str, str]:
    """The images, which the cluster has, and their digests."""
    assert kubeconfig.exists()
    made = {name: images.model(name, held(name)) for name in OTHERWISE}
    cluster.add(*made.values())
    return {name: oci.digest_of_image(image.archive) for name, image in made.items()}


@pytest.fixture(scope="module")
def claim(team: Team, digests: dict[str, str]) -> Iterator[None]:
    """The claim `models`, to which the files were copied from the image."""
    team.apply(*volume_and_claim(team.namespace), copying(digests["as-pinned"]))
    team.wait("--for=jsonpath={.status.phase}=Succeeded", "pod/copy")
    yield
    team.kubectl("delete", "pv", team.namespace, "--wait=false")


def volume_and_claim(name: str) -> list[Object]:
    size: Object = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    folder = {"hostPath": {"path": f"{STATE}/claims/{name}", "type": "DirectoryOrCreate"}}
    volume = {"kind": "PersistentVolume", "metadata": {"name": name}}
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}
    asked = {"volumeName": name, "resources": {"requests": {"storage": "1Mi"}}}
    return [
        {"apiVersion": "v1", **volume, "spec": size | folder | {"capacity": {"storage": "1Mi"}}},
        {"apiVersion": "v1", **claim, "spec": size | asked},
    ]


def copying(digest: str) -> Object:
    """A pod that copies what is in the image to where the claim's source names it."""
    image = {"reference": f"{in_image('as-pinned').removeprefix('oci://')}@{digest}"}
    container = {
        "name": "copy",
        "image": IMAGE,
        "command": ["sh", "-c", "mkdir -p /claim/team && cp -r /image /claim/team/model"],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("image", "claim")],
    }
    volumes = [
        {"name": "image", "image": image},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "models"}},
    ]
    spec = {"containers": [container], "volumes": volumes, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"}, "spec": spec}


@pytest.fixture(scope="module", autouse=True)
def applied(team: Team, pins: Found, digests: dict[str, str], claim: None) -> None:  # noqa: ARG001 - is mounted
    """All models of this file, by what is told of them below."""

    def of(source: str, revision: str, /, **tokenizer: str) -> Object:
        return {
            "name": MODEL,
            "checkpoint": {"source": source, "revision": revision},
            "tokenizer": {"revision": revision, "fingerprint": pins.fingerprint} | tokenizer,
            "license": {"id": "Apache-2.0", "textDigest": pins.text_digest},
        }

    right, other = (digests[name] for name in ("as-pinned", "other-tokenizer"))
    models = {
        **{name: of(in_image(name), digest) for name, digest in digests.items()},
        "apart": of(in_image("other-tokenizer"), other, source=in_image("as-pinned"), revision=right),
        "gone": of(in_image("as-pinned"), NOWHERE),
        "claimed": of(IN_CLAIM, pins.revision),
        "other-claim": of(IN_CLAIM, NOWHERE),
    }
    team.apply(*(team.model(name, model=pinned) for name, pinned in models.items()))


@pytest.mark.parametrize("name", ["as-pinned", "apart", "claimed"])
async def test_a_mounted_model_is_served(team: Team, gateway_url: str, name: str) -> None:
    team.wait_ready(name)
    async with aiohttp.ClientSession() as http:
        chunks = await streamed(http, f"{gateway_url}/{team.namespace}/{name}/v1", max_tokens=8)

    assert finish_reason(chunks) == "length"


@pytest.mark.parametrize("name", ["as-pinned", "claimed"])
def test_the_same_manifest_tells_what_was_mounted(team: Team, pins: Found, name: str) -> None:
    team.wait_ready(name)
    [pod] = team.pods(name)
    reading = ("--container=engine", "--", "cat", "/run/pilothouse/manifest.json")
    [artifact] = json.loads(team.kubectl("exec", pod["metadata"]["name"], *reading))["artifacts"]
    pinned = team.get("md", name)["spec"]["model"]["checkpoint"]

    assert {key: artifact[key] for key in pinned} == pinned
    assert artifact["digest"] == pins.revision
    assert artifact["license"]["textDigest"] == pins.text_digest
    assert {file["path"]: file["sha256"] for file in artifact["files"]} == {
        path: oci.digest(content) for path, content in held("as-pinned").items()
    }


@pytest.mark.parametrize(
    ("name", "reason", "found"),
    [
        ("other-license", Reason.LICENSE_MISMATCH, "LICENSE has the digest"),
        ("other-tokenizer", Reason.TOKENIZER_CHANGED, "the fingerprint of its tokenizer"),
        ("gone", Reason.IMAGE_PULL_FAILED, f"pilothouse.dev/models/as-pinned@{NOWHERE}"),
        ("other-claim", Reason.ARTIFACT_MISMATCH, f"{IN_CLAIM} at {NOWHERE}: the digest of its"),
    ],
)
def test_what_is_not_as_pinned_lets_no_engine_start(
    team: Team, name: str, reason: Reason, found: str
) -> None:
    team.wait_reason(name, reason)

    assert found in team.condition(name)["message"]
    assert not team.engine_started(name)
