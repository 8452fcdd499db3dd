"""What is fetched: exactly what is pinned and what the engine needs, with the digest of each file."""

import hashlib
import json
import os

from fetch.pod import COMMIT, MODEL, Node, checkpoint, tokenizer, wanted
from harness.hub.repositories import File, files, main_commit, shape
from harness.hub.thread import HubThread

OTHER_COMMIT = "5" * 40
OTHER_MODEL = "Qwen/Qwen2.5-Coder-1.5B"
TEXTS = {
    *("README.md", "LICENSE", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
}
CHECKPOINT = {*TEXTS, "model.safetensors"}


def content(path: str, commit: str = COMMIT) -> bytes:
    """What the hub has at this path of the model."""
    return held(commit)[path].content


def held(commit: str = COMMIT) -> dict[str, File]:
    return files(MODEL, commit, shape(MODEL))


def compact_digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def test_the_engine_finds_the_files_of_the_pinned_commit_where_the_library_puts_them(node: Node) -> None:
    node.fetched()

    assert node.files() == CHECKPOINT
    assert all((node.snapshot() / path).read_bytes() == content(path) for path in CHECKPOINT)


def test_the_library_finds_all_offline(node: Node) -> None:
    node.fetched()
    asked = (
        "import sys, huggingface_hub as h;"
        "folder = h.snapshot_download(sys.argv[1], revision=sys.argv[2]);"
        "file = h.hf_hub_download(sys.argv[1], 'config.json', revision=sys.argv[2]);"
        "print(folder, file)"
    )
    found = node.python_says(asked, MODEL, COMMIT, HF_HUB_OFFLINE="1")

    assert found == f"{node.snapshot()} {node.snapshot() / 'config.json'}"


def test_a_branch_that_moved_changes_nothing(hub: HubThread, node: Node) -> None:
    before = node.fetched()
    hub.fault(repository=MODEL, head=OTHER_COMMIT)
    after = node.fetched()

    assert before == after
    assert content("model.safetensors") != content("model.safetensors", OTHER_COMMIT)
    assert (node.snapshot() / "model.safetensors").read_bytes() == content("model.safetensors")


def test_nobody_is_asked_for_a_branch(hub: HubThread, node: Node) -> None:
    node.fetched()
    asked = hub.asked()

    assert {name.split("@")[1].split("/")[0] for name in {**asked.heads, **asked.gets}} == {COMMIT}
    assert main_commit(MODEL) != COMMIT
    assert not list(node.cache.rglob("refs"))


def test_only_what_the_engine_needs_is_downloaded(hub: HubThread, node: Node) -> None:
    node.fetched()

    assert {name.split("/", 2)[2] for name in hub.asked().sent} == CHECKPOINT


def test_the_code_of_a_repository_comes_only_where_it_may_run(node: Node) -> None:
    node.fetched(wanted(remoteCode=True))

    assert node.files() == {*CHECKPOINT, "modeling_tiny.py"}


def test_a_tokenizer_comes_without_the_weights_of_its_model(hub: HubThread, node: Node) -> None:
    node.fetched(wanted(checkpoint(), tokenizer(f"hf://{OTHER_MODEL}")))
    sent = {name.split("/", 2)[2] for name in hub.asked().sent if name.startswith(OTHER_MODEL)}

    assert sent == TEXTS


def test_the_manifest_has_the_digest_of_every_file(node: Node) -> None:
    (artifact,) = node.fetched()["artifacts"]
    expected = [
        {"path": path, "size": len(content(path)), "sha256": hashlib.sha256(content(path)).hexdigest()}
        for path in sorted(CHECKPOINT)
    ]

    assert artifact["files"] == expected
    assert (artifact["role"], artifact["source"], artifact["revision"]) == (
        *("checkpoint", f"hf://{MODEL}"),
        COMMIT,
    )


def test_the_digests_of_artifacts_and_manifest_are_of_compact_json(node: Node) -> None:
    found = node.fetched(wanted(checkpoint(), tokenizer(f"hf://{OTHER_MODEL}")))
    digests = [
        compact_digest([[file["path"], file["sha256"]] for file in artifact["files"]])
        for artifact in found["artifacts"]
    ]

    assert [artifact["digest"] for artifact in found["artifacts"]] == digests
    assert found["digest"] == compact_digest(digests)


def test_the_manifest_is_the_same_whatever_was_in_the_cache(node: Node) -> None:
    first = node.fetched()
    (node.snapshot() / "config.json").unlink()

    assert node.fetched() == first


def test_a_file_too_many_is_removed(node: Node) -> None:
    node.fetched()
    (node.snapshot() / "sitecustomize.py").write_text("print('run')")
    node.fetched()

    assert node.files() == CHECKPOINT


def test_a_linked_folder_too_many_is_removed(node: Node) -> None:
    node.fetched()
    elsewhere = node.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "adapter_config.json").write_text("{}")
    (node.snapshot() / "more").symlink_to(elsewhere)
    node.fetched()

    assert node.files() == CHECKPOINT
    assert (elsewhere / "adapter_config.json").exists()


def test_a_file_of_the_commit_that_nobody_needs_is_verified_if_it_is_there(node: Node) -> None:
    node.fetched()
    (node.snapshot() / "modeling_tiny.py").write_text("print('not the hub\\'s')")
    found = node.fetched()["artifacts"][0]["files"]

    assert (node.snapshot() / "modeling_tiny.py").read_bytes() == content("modeling_tiny.py")
    assert "modeling_tiny.py" in [file["path"] for file in found]


def test_a_file_that_was_changed_in_the_cache_is_fetched_anew(node: Node) -> None:
    node.fetched()
    weights = node.snapshot() / "model.safetensors"
    times = weights.stat()
    weights.write_bytes(b"x" * times.st_size)
    # Whoever changes a file can also put its time back.
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    node.fetched()

    assert weights.read_bytes() == content("model.safetensors")


def test_a_link_that_leads_elsewhere_is_put_right_and_what_it_led_to_is_left_alone(node: Node) -> None:
    node.fetched()
    precious = node.folder / "precious"
    precious.write_text("somebody else's")
    config = node.snapshot() / "config.json"
    config.unlink()
    config.symlink_to(precious)
    node.fetched()

    assert config.read_bytes() == content("config.json")
    assert precious.read_text() == "somebody else's"
