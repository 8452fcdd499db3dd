"""What `pilothouse pin` prints is what the fetch then finds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import model_deployment
from fetch.pod import MODEL, Node
from fetch.test_fetch import CHECKPOINT, held
from harness.hub.thread import HubThread
from pilothouse.cli.main import main
from pilothouse.plan.fetch import fetch_request

Object = dict[str, Any]


Pin = Callable[[str], Object]


@pytest.fixture
def pinned(hub: HubThread, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Run the command against the hub, and return the block that it prints, as people paste it."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)

    def pinned(source: str) -> Object:
        with pytest.raises(SystemExit) as end:
            main(["pin", source])
        assert not end.value.code
        block: Object = yaml.safe_load(capsys.readouterr().out)["model"]
        return block

    return pinned


def request_of(block: Object) -> Object:
    """What the init container of a model with this block is asked."""
    request: Object = json.loads(fetch_request(model_deployment({"model": block})))
    return request


@pytest.mark.parametrize(
    "repository",
    [MODEL, "deepseek-ai/deepseek-coder-6.7b-instruct", "bigcode/starcoder2-7b", "Qwen/Qwen2.5-Coder-3B"],
)
def test_a_block_that_was_pinned_is_fetched(node: Node, pinned: Pin, repository: str) -> None:
    request = request_of(pinned(f"hf://{repository}"))
    (artifact,) = node.fetched(request)["artifacts"]

    assert request["fingerprint"]
    assert artifact["license"]["textDigest"] == request["license"]["textDigest"] is not None
    assert artifact["revision"] == request["artifacts"][0]["revision"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokenizer": "prose"}, "TokenizerChanged"),
        ({"license": "mit"}, "LicenseMismatch"),
        ({"license_text": "another\n"}, "LicenseMismatch"),
    ],
)
def test_what_changed_since_it_was_pinned_is_not_fetched(
    hub: HubThread, node: Node, pinned: Pin, change: Object, reason: str
) -> None:
    request = request_of(pinned(f"hf://{MODEL}"))
    hub.fault(repository=MODEL, **change)

    assert node.failed(request)[0] == reason


def test_a_folder_that_was_pinned_is_taken_from_a_claim(node: Node, pinned: Pin, tmp_path: Path) -> None:
    folder = tmp_path / "claim"
    folder.mkdir()
    for path in CHECKPOINT:
        (folder / path).write_bytes(held()[path].content)
    block = pinned(str(folder))
    block["checkpoint"]["source"] = "pvc://models/qwen"
    request = request_of(block)
    request["artifacts"][0]["path"] = str(folder)
    (artifact,) = node.fetched(request)["artifacts"]

    assert artifact["digest"] == block["checkpoint"]["revision"]
    assert artifact["license"]["textDigest"] == block["license"]["textDigest"]
    assert request["fingerprint"] == block["tokenizer"]["fingerprint"]
