import json
import tarfile
from pathlib import Path

import pytest

from harness import oci


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o700)
    return file


def _layer(folder: Path, program: Path) -> Path:
    layer = folder / "layer.tar"
    oci.write_layer(layer, {"/usr/bin/program": program})
    return layer


def test_the_same_content_gives_the_same_digest_whatever_its_time(tmp_path: Path, program: Path) -> None:
    first = oci.digest(_layer(tmp_path, program))
    program.touch()
    assert oci.digest(_layer(tmp_path, program)) == first


def test_another_content_gives_another_digest(tmp_path: Path, program: Path) -> None:
    first = oci.digest(_layer(tmp_path, program))
    program.write_text("#!/bin/sh\ntrue\n")
    assert oci.digest(_layer(tmp_path, program)) != first


def test_a_layer_belongs_to_root_and_anyone_can_run_its_programs(tmp_path: Path, program: Path) -> None:
    with tarfile.open(_layer(tmp_path, program)) as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.uid, member.gid, member.mode) == ("usr/bin/program", 0, 0, 0o755)


def test_every_blob_of_an_image_is_where_its_digest_says(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "image.tar"
    layer = _layer(tmp_path, program)
    oci.write_image(archive, "pilothouse.dev/x:1", [layer, layer], oci.Settings(("/usr/bin/program",)))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    content = {
        str(file.relative_to(tmp_path / "layout")): file.read_bytes() for file in _files(tmp_path / "layout")
    }
    index = json.loads(content["index.json"])
    (entry,) = index["manifests"]
    manifest = json.loads(content[_path(entry)])
    assert entry["annotations"] == {"io.containerd.image.name": "pilothouse.dev/x:1"}
    for descriptor in (entry, manifest["config"], *manifest["layers"]):
        assert descriptor["digest"] == f"sha256:{oci.digest(content[_path(descriptor)])}"
        assert descriptor["size"] == len(content[_path(descriptor)])


def test_an_image_without_a_tag_is_known_by_the_digest_that_pins_it(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "image.tar"
    oci.write_image(archive, "pilothouse.dev/x", [_layer(tmp_path, program)], oci.Settings(()))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    (entry,) = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    pin = oci.digest_of_image(archive)
    assert pin == f"sha256:{oci.digest(tmp_path / 'layout' / _path(entry))}"
    assert entry["annotations"] == {"io.containerd.image.name": f"pilothouse.dev/x@{pin}"}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _path(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"
