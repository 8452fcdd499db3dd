"""One cache, many pods, many starts: each byte comes once."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from fetch.pod import BLOBS, COMMIT, MODEL, SNAPSHOT, Node, Object, checkpoint, wanted
from fetch.test_fetch import CHECKPOINT
from harness.hub.repositories import files, shape
from harness.hub.thread import Asked, HubThread
from harness.shell import wait_for
from pilothouse.guard import pilothouse_fetch as fetch

MIB = 1024 * 1024
LARGE = 32 * MIB
"""Several of the pieces in which the library writes."""
WEIGHTS = f"{MODEL}@{COMMIT}/model.safetensors"
OTHER_COMMIT = "7" * 40


def begun(progress: Object) -> bool:
    """Whether the first piece of a download has been written."""
    return progress["phase"] == "Downloading" and progress["bytes"] >= 10 * MIB


def sent_in_all(asked: Asked) -> int:
    return sum(asked.sent.values())


def size_of_all(weights: int = 4096) -> int:
    held = files(MODEL, COMMIT, shape(MODEL, weights=weights))
    return sum(len(held[path].content) for path in CHECKPOINT)


def hub_with_large_weights(hub: HubThread, **fault: object) -> None:
    hub.fault(repository=MODEL, weights=LARGE)
    if fault:
        hub.fault(repository=MODEL, path="model.safetensors", **fault)


def test_pods_that_start_together_download_once(hub: HubThread, node: Node) -> None:
    pods = [node.start() for _ in range(4)]
    manifests = [pod.fetched() for pod in pods]

    assert all(manifest == manifests[0] for manifest in manifests)
    assert sent_in_all(hub.asked()) == size_of_all()
    assert set(hub.asked().gets.values()) == {1}


def test_a_pod_that_waits_for_another_says_so(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=20 * MIB)
    first = node.start()
    first.wait_progress("the download", begun)
    second = node.start()
    wait_for("the second to wait", lambda: any("another pod fetches" in event for event in second.events))

    assert second.progress() == {"phase": "Waiting", "bytes": 0, "totalBytes": 0, "bytesPerSecond": 0}
    assert first.fetched() == second.fetched()


def test_a_pod_goes_on_where_another_was_killed_while_it_waited(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=20 * MIB)
    first = node.start()
    first.wait_progress("the download", begun)
    second = node.start()
    wait_for("the second to wait", lambda: any("another pod fetches" in event for event in second.events))
    hub.heal()
    hub_with_large_weights(hub)
    first.kill()
    hub.forget()
    second.fetched()

    assert hub.asked().sent[WEIGHTS] <= size_of_all(LARGE) - 10 * MIB


def test_a_download_that_was_killed_is_resumed(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=20 * MIB)
    pod = node.start()
    pod.wait_progress("the download", begun)
    pod.kill()
    hub.heal()
    hub_with_large_weights(hub)
    hub.forget()
    manifest = node.fetched()
    expected = files(MODEL, COMMIT, shape(MODEL, weights=LARGE))["model.safetensors"]

    assert hub.asked().sent[WEIGHTS] <= len(expected.content) - 10 * MIB
    digests = {file["path"]: file["sha256"] for file in manifest["artifacts"][0]["files"]}
    assert digests["model.safetensors"] == expected.sha256


def test_a_download_that_was_killed_leaves_nothing_that_an_engine_would_read(
    hub: HubThread, node: Node
) -> None:
    hub_with_large_weights(hub, slow=20 * MIB)
    pod = node.start()
    pod.wait_progress("the download", begun)
    pod.kill()

    assert not node.snapshot().exists()
    assert {path.suffix for path in (node.cache / "hub" / BLOBS).iterdir()} == {".incomplete"}


def test_a_kept_cache_needs_no_hub(hub: HubThread, node: Node) -> None:
    first = node.fetched()
    hub.forget()
    again = node.fetched()

    assert again == first
    assert hub.asked().nothing
    assert node.fetched(HF_ENDPOINT="http://127.0.0.1:9") == first


def test_a_cache_with_new_owners_needs_no_hub(hub: HubThread, node: Node) -> None:
    first = node.fetched()
    for blob in (node.cache / "hub" / BLOBS).iterdir():
        blob.chmod(0o660)
    hub.forget()

    assert node.fetched() == first
    assert hub.asked().nothing


def test_a_fetch_that_failed_keeps_its_lock_until_its_process_ends(tmp_path: Path) -> None:
    artifact, hub = fetch.Artifact("checkpoint", f"hf://{MODEL}", COMMIT), fetch.Hub(tmp_path)
    with pytest.raises(fetch.Failure), fetch.alone(artifact, hub, fetch.Progress()):
        raise fetch.Failure(fetch.FETCH_FAILED, "while another file is downloaded")
    with (hub.notes(artifact) / "lock").open("a") as of_another, pytest.raises(BlockingIOError):
        fcntl.flock(of_another, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_system_without_locks_keeps_pods_apart_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_lock: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fetch.fcntl, "flock", no_locks)
    artifact, hub = fetch.Artifact("checkpoint", f"hf://{MODEL}", COMMIT), fetch.Hub(tmp_path)
    with (
        fetch.alone(artifact, hub, fetch.Progress()) as one,
        fetch.alone(artifact, hub, fetch.Progress()) as other,
    ):
        assert one != other


def test_an_engine_with_a_cache_elsewhere_finds_all_there(node: Node) -> None:
    elsewhere = node.folder / "elsewhere"
    node.fetched(HF_HUB_CACHE=str(elsewhere))
    asked = "import sys, huggingface_hub as h; print(h.snapshot_download(sys.argv[1], revision=sys.argv[2]))"
    found = node.python_says(asked, MODEL, COMMIT, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(elsewhere))

    assert found == str(elsewhere / SNAPSHOT)


def test_what_others_downloaded_into_the_cache_is_verified_and_kept(hub: HubThread, node: Node) -> None:
    node.python_says(
        "import sys, huggingface_hub as h; h.snapshot_download(sys.argv[1], revision=sys.argv[2])",
        *(MODEL, COMMIT),
        HF_ENDPOINT=hub.url,
        HF_HUB_DISABLE_XET="1",
    )
    before = node.files()
    hub.forget()
    manifest = node.fetched()

    assert not hub.asked().sent
    assert {file["path"] for file in manifest["artifacts"][0]["files"]} == before > CHECKPOINT
    assert not list(node.cache.rglob("trees/*"))


def test_what_two_revisions_have_in_common_comes_once(hub: HubThread, node: Node) -> None:
    node.fetched()
    hub.forget()
    node.fetched(wanted(checkpoint(revision=OTHER_COMMIT)))

    assert set(hub.asked().sent) == {f"{MODEL}@{OTHER_COMMIT}/model.safetensors"}


def test_two_files_of_one_content_come_once(hub: HubThread, node: Node) -> None:
    license_ = files(MODEL, COMMIT, shape(MODEL))["LICENSE"]
    twin = {"type": "file", "path": "COPYING", "oid": license_.blob, "size": len(license_.content)}
    hub.fault(repository=MODEL, entries=[twin])
    node.fetched()

    assert (node.snapshot() / "COPYING").read_bytes() == license_.content
    assert hub.asked().gets[f"{MODEL}@{COMMIT}/LICENSE"] == 1


def test_a_start_leaves_the_files_alone_that_an_engine_reads(node: Node) -> None:
    node.fetched()
    before = {path: (node.snapshot() / path).stat() for path in node.files()}
    node.fetched()

    assert {path: (node.snapshot() / path).stat().st_ino for path in node.files()} == {
        path: state.st_ino for path, state in before.items()
    }


def test_a_note_that_was_cut_off_is_no_note(hub: HubThread, node: Node) -> None:
    first = node.fetched()
    (note,) = (node.cache / "pilothouse").rglob("*.json")
    for text in ("", '{"files": [', "[]", '{"files": [{}]}', '{"files": 1}'):
        note.write_text(text)
        assert node.fetched() == first
    assert sent_in_all(hub.asked()) == size_of_all()


def test_a_pipe_in_the_folder_holds_nobody_up(node: Node) -> None:
    node.fetched()
    os.mkfifo(node.snapshot() / "pipe")
    node.fetched()

    assert node.files() == CHECKPOINT


def test_the_progress_tells_bytes_and_rate(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=20 * MIB)
    pod = node.start()
    pod.wait_progress("bytes and a rate", lambda told: begun(told) and told["bytesPerSecond"] > 0)
    told = pod.progress()

    assert told is not None
    assert 0 < told["bytes"] < told["totalBytes"] == size_of_all(LARGE)
