"""A tokenizer must cut the probe texts as the pinned one does."""

import json
import subprocess

import pytest

from fetch.pod import COMMIT, MODEL, Node, checkpoint, tokenizer, wanted
from harness.hub.repositories import files, shape
from harness.hub.thread import HubThread
from pilothouse.plan.probes import PROBES, fingerprint

SMALL_MODEL = "Qwen/Qwen2.5-Coder-1.5B"


def fingerprint_of(kind: str, node: Node) -> str:
    """The fingerprint of one of the hub's two tokenizers, by the library that all others stand on."""
    content = files(MODEL, COMMIT, shape(MODEL, tokenizer=kind))["tokenizer.json"].content
    code = (
        "import json, sys, tokenizers; given = json.load(sys.stdin);"
        "found = tokenizers.Tokenizer.from_str(given['tokenizer']);"
        "print(json.dumps([found.encode(text).ids for text in given['texts']]))"
    )
    given = json.dumps({"tokenizer": content.decode(), "texts": PROBES})
    command = [node.python, "-c", code]
    found = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
    return fingerprint(json.loads(found))


def test_the_pinned_tokenizer_is_taken(node: Node) -> None:
    node.fetched(wanted(fingerprint=fingerprint_of("code", node)))


def test_a_tokenizer_that_cuts_otherwise_is_another(hub: HubThread, node: Node) -> None:
    right, wrong = fingerprint_of("code", node), fingerprint_of("prose", node)
    hub.fault(repository=MODEL, tokenizer="prose")
    reason, message = node.failed(wanted(fingerprint=right))

    assert reason == "TokenizerChanged"
    assert f"is {wrong}, pinned is {right}" in message
    assert "the fingerprint of its tokenizer, by tokenizers " in message


def test_the_tokenizer_of_another_source_is_the_one_that_is_checked(hub: HubThread, node: Node) -> None:
    hub.fault(repository=SMALL_MODEL, tokenizer="prose")
    artifacts = [checkpoint(), tokenizer(f"hf://{SMALL_MODEL}")]
    node.fetched(wanted(*artifacts, fingerprint=fingerprint_of("prose", node)))
    reason, message = node.failed(wanted(*artifacts, fingerprint=fingerprint_of("code", node)))

    assert reason == "TokenizerChanged"
    assert f"hf://{SMALL_MODEL}" in message


def test_a_kept_cache_needs_no_hub_for_the_fingerprint(node: Node) -> None:
    asked = wanted(fingerprint=fingerprint_of("code", node))
    node.fetched(asked)
    node.fetched(asked, HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.parametrize("text", ["{", "{}", ""])
def test_a_tokenizer_that_can_t_be_read_is_said(node: Node, text: str) -> None:
    folder = node.folder / "image"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(text)
    of_an_image = tokenizer("oci://registry/tokenizer", "sha256:" + "0" * 64, path=str(folder))
    reason, message = node.failed(wanted(checkpoint(), of_an_image, fingerprint=fingerprint_of("code", node)))

    assert reason == "FetchFailed"
    assert "oci://registry/tokenizer" in message
    assert "its tokenizer can't be read" in message


def test_the_code_of_a_repository_never_runs_unless_it_may(node: Node) -> None:
    pod = node.start(wanted(fingerprint=fingerprint_of("code", node)))
    pod.fetched()

    assert "code of the repository ran" not in pod.log
