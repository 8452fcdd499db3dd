"""The pins of a model, found by the real hub client from a hub that speaks its protocol over HTTP."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import harness.hub
from harness.hub.repositories import main_commit
from harness.hub.thread import HubThread
from pilothouse.api.modeldeployment import Model
from pilothouse.cli.main import main
from pilothouse.guard import pilothouse_fetch as fetch

MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"
COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"
TOKENIZER = Path(harness.hub.__file__).parent / "data" / "tokenizer-code.json"
SECRET = "hf_ofNobody"  # noqa: S105 -- it opens nothing


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    """A hub of the test's own, which the client is led to."""
    running = HubThread()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    yield running
    running.stop()


def pin(source: str) -> int:
    """Run `pilothouse pin`, and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["pin", source])
    return int(end.value.code or 0)


def pinned(capsys: pytest.CaptureFixture[str], source: str) -> dict[str, dict[str, str]]:
    """Read back the block that was printed."""
    assert pin(source) == 0
    block: dict[str, dict[str, str]] = yaml.safe_load(capsys.readouterr().out)["model"]
    return block


@pytest.mark.usefixtures("hub")
def test_a_branch_is_resolved_to_its_commit(capsys: pytest.CaptureFixture[str]) -> None:
    block = pinned(capsys, f"hf://{MODEL}")

    assert block["checkpoint"] == {"source": f"hf://{MODEL}", "revision": main_commit(MODEL)}
    assert block["tokenizer"]["revision"] == main_commit(MODEL)


@pytest.mark.usefixtures("hub")
def test_the_block_is_what_a_manifest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model.model_validate(pinned(capsys, f"hf://{MODEL}@{COMMIT}"))

    assert model.checkpoint.revision == COMMIT
    assert model.license.id == "Apache-2.0"
    assert model.license.text_digest
    assert model.tokenizer.fingerprint


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("repository", "license_id"),
    [
        ("deepseek-ai/deepseek-coder-6.7b-instruct", "LicenseRef-DeepSeek"),
        ("bigcode/starcoder2-7b", "LicenseRef-BigCode-OpenRAIL-M"),
        ("Qwen/Qwen2.5-Coder-3B", "LicenseRef-Qwen-Research"),
    ],
)
def test_a_family_s_license_has_its_id(
    capsys: pytest.CaptureFixture[str], repository: str, license_id: str
) -> None:
    assert pinned(capsys, f"hf://{repository}")["license"]["id"] == license_id


@pytest.mark.usefixtures("hub")
def test_code_in_the_repository_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert pin(f"hf://{MODEL}") == 0
    assert "modeling_tiny.py" in capsys.readouterr().err


@pytest.mark.usefixtures("hub")
def test_a_branch_that_is_not_there_is_said_in_the_hub_s_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert pin(f"hf://{MODEL}@gone") == 2
    assert "RevisionNotFound" in capsys.readouterr().err


def test_a_card_without_a_license_leaves_the_id_to_a_person(
    hub: HubThread, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fault(repository=MODEL, license="", license_text="")
    assert pin(f"hf://{MODEL}") == 0
    shown = capsys.readouterr()

    assert yaml.safe_load(shown.out)["model"]["license"] == {"id": ""}
    assert "names no license" in shown.err
    assert "no license text" in shown.err


def test_a_refused_token_is_said_and_never_shown(hub: HubThread, capsys: pytest.CaptureFixture[str]) -> None:
    hub.fault(repository=MODEL, gated=True)
    assert pin(f"hf://{MODEL}") == 2
    shown = capsys.readouterr()

    assert "HubAccessDenied" in shown.err
    assert SECRET not in shown.out + shown.err


def test_a_pin_that_failed_leaves_no_download_under_way(
    hub: HubThread, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fault(repository=MODEL, path="tokenizer.json", slow=200_000)
    hub.fault(repository=MODEL, path="config.json", status=404, missing="entry")
    assert pin(f"hf://{MODEL}") == 2
    assert capsys.readouterr().err

    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(fetch.THREADS)] == []


def test_a_hub_that_is_down_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert pin(f"hf://{MODEL}") == 2
    assert "HubUnavailable" in capsys.readouterr().err


def test_a_folder_is_pinned_by_the_digest_of_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    before = pinned(capsys, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    after = pinned(capsys, str(tmp_path))

    assert before["license"]["id"] == "MIT"
    assert after["checkpoint"]["revision"].startswith("sha256:")
    assert after["checkpoint"]["revision"] != before["checkpoint"]["revision"]
    assert after["tokenizer"]["fingerprint"] == before["tokenizer"]["fingerprint"]


def test_a_fingerprint_that_transformers_did_not_make_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    assert pin(str(tmp_path)) == 0
    assert "should the engine's transformers read it otherwise" in capsys.readouterr().err


def test_a_tokenizer_that_transformers_completes_gets_no_fingerprint_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    assert pin(str(tmp_path)) == 0
    shown = capsys.readouterr()

    assert "fingerprint" not in yaml.safe_load(shown.out)["model"]["tokenizer"]
    assert "transformers" in shown.err


def test_what_is_neither_a_repository_nor_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert pin("Qwen/Qwen2.5-Coder-7B-Instruct") == 2
    assert "neither hf://owner/name[@ref] nor a folder" in capsys.readouterr().err
