"""Folders that are mounted are verified by the digest of their files."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fetch.pod import COMMIT, MODEL, Node, Object, checkpoint, licensed, tokenizer, wanted
from fetch.test_fetch import CHECKPOINT, compact_digest, held
from harness.hub.thread import HubThread
from harness.paths import REPOSITORY
from pilothouse.guard import pilothouse_fetch as fetch

GUIDE = REPOSITORY / "docs" / "guide.md"
OTHER_DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a model, and one in a folder below."""
    folder = tmp_path / "claim"
    (folder / "more").mkdir(parents=True)
    for path in CHECKPOINT:
        (folder / path).write_bytes(held()[path].content)
    (folder / "more" / "notes.txt").write_text("notes\n")
    return folder


def digest_by_hand(folder: Path) -> str:
    """What people compute who do as the guide says."""
    code = textwrap.dedent(GUIDE.read_text().split("<!-- digest -->\n")[1].split("<!-- end of digest -->")[0])
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def claim(folder: Path, digest: str | None = None) -> Object:
    revision = digest_by_hand(folder) if digest is None else digest
    return checkpoint("pvc://models/qwen", revision, path=str(folder))


def image(folder: Path) -> Object:
    return checkpoint("oci://registry/qwen", OTHER_DIGEST, path=str(folder))


def test_a_claim_with_the_pinned_digest_is_taken(hub: HubThread, node: Node, folder: Path) -> None:
    (artifact,) = node.fetched(wanted(claim(folder)))["artifacts"]

    assert artifact["digest"] == artifact["revision"] == digest_by_hand(folder)
    assert {file["path"] for file in artifact["files"]} == {*CHECKPOINT, "more/notes.txt"}
    assert hub.asked().nothing


@pytest.mark.parametrize("change", ["content", "name", "one more", "one less"])
def test_a_claim_with_other_content_is_a_mismatch(node: Node, folder: Path, change: str) -> None:
    asked = wanted(claim(folder))
    notes = folder / "more" / "notes.txt"
    match change:
        case "content":
            notes.write_text("other\n")
        case "name":
            notes.rename(folder / "notes.txt")
        case "one more":
            (folder / ".hidden").touch()
        case _:
            notes.unlink()
    reason, message = node.failed(asked)

    assert reason == "ArtifactMismatch"
    assert f"the digest of its {len(list(filter(Path.is_file, folder.rglob('*'))))} files is" in message
    assert digest_by_hand(folder) in message


def test_a_linked_folder_is_refused_since_no_digest_covers_it(node: Node, folder: Path) -> None:
    asked = wanted(claim(folder))
    (folder / "linked").symlink_to(folder.parent)
    reason, message = node.failed(asked)

    assert reason == "ArtifactMismatch"
    assert "linked is neither a file nor a link to one" in message


def test_a_link_to_nothing_is_refused(node: Node, folder: Path) -> None:
    (folder / "linked.json").symlink_to("../blobs/gone")

    assert node.failed(wanted(claim(folder)))[0] == "ArtifactMismatch"


def test_a_pipe_is_refused_and_not_read(node: Node, folder: Path) -> None:
    asked = wanted(claim(folder))
    os.mkfifo(folder / "pipe")

    assert node.failed(asked)[0] == "ArtifactMismatch"


def test_a_linked_file_counts_by_its_content(node: Node, folder: Path) -> None:
    asked = wanted(claim(folder))
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to("../config.json")

    node.fetched(asked)


def test_a_folder_that_can_t_be_read_is_not_an_empty_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        fetch.present(folder)


def test_names_that_are_no_text_are_told_all_the_same(node: Node, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.json")).touch()
    reason, message = node.failed(wanted(claim(folder, OTHER_DIGEST)))

    assert reason == "ArtifactMismatch"
    assert message.encode()


def test_an_image_is_taken_as_it_is_and_its_digest_told(node: Node, folder: Path) -> None:
    (artifact,) = node.fetched(wanted(image(folder)))["artifacts"]

    assert artifact["revision"] == OTHER_DIGEST
    assert artifact["digest"] == digest_by_hand(folder)


def test_the_license_of_a_claim_is_checked(node: Node, folder: Path) -> None:
    asked = wanted(claim(folder), license=licensed("MIT", "mit"))
    reason, message = node.failed(asked)

    assert reason == "LicenseMismatch"
    assert "pvc://models/qwen" in message


def test_a_folder_that_is_not_there_is_said(node: Node, tmp_path: Path) -> None:
    reason, message = node.failed(wanted(claim(tmp_path / "gone", OTHER_DIGEST)))

    assert reason == "FetchFailed"
    assert f"there is no folder {tmp_path / 'gone'}" in message


def test_a_tokenizer_of_the_hub_goes_with_weights_of_a_claim(node: Node, folder: Path) -> None:
    found = node.fetched(wanted(claim(folder), tokenizer()))

    assert [artifact["role"] for artifact in found["artifacts"]] == ["checkpoint", "tokenizer"]
    assert found["digest"] == compact_digest([artifact["digest"] for artifact in found["artifacts"]])
    assert found["artifacts"][1]["revision"] == COMMIT
    assert found["artifacts"][1]["source"] == f"hf://{MODEL}"
