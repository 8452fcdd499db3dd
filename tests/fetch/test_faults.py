"""What goes wrong has its reason and the hub's words, and never a secret."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetch.pod import BLOBS, COMMIT, MODEL, Node, checkpoint, tokenizer, wanted
from fetch.test_shared_cache import MIB, WEIGHTS, begun, hub_with_large_weights
from harness.hub.repositories import files, shape
from harness.hub.thread import HubThread
from harness.shell import wait_for

TOKEN = "hf_secretOfATest"  # noqa: S105 -- it opens a hub of this process
OTHER_TOKEN = "hf_ofSomebodyElse"  # noqa: S105 -- it opens nothing
NO_COMMIT = "0" * 40
SIGNATURE = "signed-by-the-hub"
SHORT_SILENCE = {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}


def test_a_gated_repository_without_a_token_is_access_denied(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, gated=True, token=TOKEN)
    reason, message = node.failed()

    assert reason == "HubAccessDenied"
    assert f"hf://{MODEL} at {COMMIT} (no HF_TOKEN was given)" in message
    assert "is restricted and you are not in the authorized list" in message


def test_a_token_that_does_not_open_the_repository_is_access_denied(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, gated=True, token=TOKEN)
    reason, message = node.failed(HF_TOKEN=OTHER_TOKEN)

    assert reason == "HubAccessDenied"
    assert "you are not in the authorized list" in message
    assert "no HF_TOKEN" not in message


def test_the_token_opens_a_gated_repository(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, gated=True, token=TOKEN)
    node.fetched(HF_TOKEN=TOKEN)


@pytest.mark.parametrize(("status", "words"), [(401, "Invalid username or password"), (403, "blocked")])
def test_a_refusal_is_access_denied(hub: HubThread, node: Node, status: int, words: str) -> None:
    hub.fault(repository=MODEL, status=status)
    reason, message = node.failed(HF_TOKEN=TOKEN)

    assert reason == "HubAccessDenied"
    assert words in message


def test_a_repository_that_is_not_there_is_not_found(node: Node) -> None:
    reason, message = node.failed(wanted(checkpoint("hf://missing/model")), HF_TOKEN=TOKEN)

    assert reason == "RevisionNotFound"
    assert "hf://missing/model" in message
    assert "Repository Not Found" in message


def test_a_revision_that_is_not_there_is_not_found(node: Node) -> None:
    reason, message = node.failed(wanted(checkpoint(revision=NO_COMMIT)))

    assert reason == "RevisionNotFound"
    assert f"Invalid rev id: {NO_COMMIT}" in message


def test_a_failure_names_the_artifact_that_it_is_about(node: Node) -> None:
    reason, message = node.failed(wanted(checkpoint(), tokenizer(revision=NO_COMMIT)))

    assert reason == "RevisionNotFound"
    assert f"hf://{MODEL} at {NO_COMMIT}" in message


def test_a_hub_that_asks_to_come_back_later_is_rate_limited_at_once(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="/tree", status=429, retry_after=300)
    reason, message = node.failed()

    assert reason == "HubRateLimited"
    assert "reached your rate limit" in message
    assert hub.asked().nothing


def test_a_download_that_is_told_to_come_back_later_does(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="config.json", status=429, retry_after=0, count=1)
    pod = node.start()
    if pod.end():
        # An old library does not wait by itself; then the next pod goes on.
        assert pod.failed()[0] == "HubRateLimited"
        node.fetched()


@pytest.mark.parametrize("path", ["/tree", "config.json", "model.safetensors"])
def test_a_hub_that_failed_for_a_moment_is_asked_again(hub: HubThread, node: Node, path: str) -> None:
    hub.fault(repository=MODEL, path=path, status=503, count=2)
    node.fetched()


def test_a_hub_that_fails_is_unavailable(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, status=500)
    reason, message = node.failed()

    assert reason == "HubUnavailable"
    assert "We're working hard to fix this" in message


def test_a_hub_that_is_down_is_unavailable(node: Node) -> None:
    reason, message = node.failed(HF_ENDPOINT="http://127.0.0.1:9")

    assert reason == "HubUnavailable"
    assert "refused" in message


def test_a_hub_that_hangs_up_is_unavailable(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, down=True)
    reason, _ = node.failed()

    assert reason == "HubUnavailable"


def test_a_hub_without_a_name_is_unavailable(node: Node) -> None:
    reason, _ = node.failed(HF_ENDPOINT="http://no-such-host.invalid")

    assert reason == "HubUnavailable"


@pytest.fixture
def silent() -> Iterator[str]:
    """A hub that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_says_nothing_is_unavailable(node: Node, silent: str) -> None:
    reason, message = node.failed(HF_ENDPOINT=silent, **SHORT_SILENCE)

    assert reason == "HubUnavailable"
    assert "timed out" in message


def test_a_connection_that_breaks_midway_is_taken_up_where_it_broke(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, cut=15 * MIB, count=1)
    node.fetched()
    content = files(MODEL, COMMIT, shape(MODEL, weights=32 * MIB))["model.safetensors"].content

    assert (node.snapshot() / "model.safetensors").read_bytes() == content
    # What came and was not written yet, one piece at most, comes again.
    assert hub.asked().sent[WEIGHTS] <= len(content) + 10 * MIB


def test_a_connection_that_always_breaks_is_unavailable(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="config.json", cut=10)
    reason, _ = node.failed()

    assert reason == "HubUnavailable"


def test_bytes_that_are_not_those_of_the_digest_are_a_mismatch(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="model.safetensors", corrupt=True)
    reason, message = node.failed()
    digest = files(MODEL, COMMIT, shape(MODEL))["model.safetensors"].sha256

    assert reason == "ArtifactMismatch"
    assert "model.safetensors has the digest" in message
    assert f"the hub says {digest}" in message


def test_a_small_file_is_held_to_its_digest_too(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="config.json", corrupt=True)

    assert node.failed()[0] == "ArtifactMismatch"


def test_a_mismatch_never_reaches_the_engine_s_folder_and_is_fetched_anew(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="model.safetensors", corrupt=True, count=1)
    node.failed()
    assert not node.snapshot().exists()
    node.fetched()

    assert not list((node.cache / "hub" / BLOBS).glob("*.incomplete"))


@pytest.fixture
def tiny(node: Node) -> Iterator[Path]:
    """The cache on a file system of 24 MiB, which only its pods see: other tests compare what is mounted."""
    node.cache.mkdir()
    mounting = 'mount -t tmpfs -o size=24m tmpfs "$0" && echo mounted && exec cat'
    command = ["unshare", "--mount", "sh", "-c", mounting, node.cache]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "mounted\n":
            pytest.skip("no file system can be mounted")
        node.wrapper = ("nsenter", "--mount", f"--target={holder.pid}")
        yield Path(f"/proc/{holder.pid}/root{node.cache}")
        node.stop()


def test_a_tiny_cache_is_mounted_for_its_pods_alone(node: Node, tiny: Path) -> None:
    assert tiny.is_mount()
    assert str(node.cache) not in Path("/proc/self/mounts").read_text()


@pytest.mark.usefixtures("tiny")
def test_a_cache_without_room_is_full_before_a_byte_comes(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, weights=32 * MIB)
    reason, message = node.failed()

    assert reason == "CacheFull"
    assert f"bytes more, {24 * MIB} are free in {node.cache}/hub" in message
    assert not hub.asked().sent


def test_a_cache_that_runs_full_is_full_and_the_download_goes_on_when_there_is_room(
    hub: HubThread, node: Node, tiny: Path
) -> None:
    hub.fault(repository=MODEL, weights=20 * MIB)
    hub.fault(repository=MODEL, path="model.safetensors", slow=20 * MIB)
    pod = node.start()
    pod.wait_progress("the download", begun)
    (tiny / "of-others").write_bytes(b"x" * 10 * MIB)
    reason, message = pod.failed()
    (tiny / "of-others").unlink()
    hub.forget()
    node.fetched()

    assert reason == "CacheFull"
    assert "No space left on device" in message
    assert hub.asked().sent[WEIGHTS] < 20 * MIB


def test_no_secret_is_in_the_log_or_in_what_is_said(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="model.safetensors", cut=10, count=1)
    node.fetched(HF_TOKEN=TOKEN)
    hub.fault(repository=MODEL, path="/tree", status=403, message=f"{TOKEN} may not read this")
    _, message = node.failed(wanted(checkpoint(revision="9" * 40)), HF_TOKEN=TOKEN)

    assert "may not read this" in message
    assert all(secret not in pod.log for pod in node.pods for secret in (TOKEN, SIGNATURE))
    assert all(secret not in json.dumps(pod.said) for pod in node.pods for secret in (TOKEN, SIGNATURE))


@pytest.mark.parametrize("token", ["s3cr3t-of-a-mirror", "hf_with-dash", "ey.J.hb"])
def test_a_token_of_any_form_is_kept_secret(hub: HubThread, node: Node, token: str) -> None:
    hub.fault(repository=MODEL, path="/tree", status=401, message=f"who is Bearer {token}?")
    pod = node.start(HF_TOKEN=token)

    assert "who is Bearer" in pod.failed()[1]
    assert token not in pod.log


def test_addresses_lose_passwords_and_queries(hub: HubThread, node: Node) -> None:
    said = "see https://me:pass@mirror/a/b?X-Amz-Signature=0123&b and /relative?sig=4567#x or s3://k:pass@b"
    hub.fault(repository=MODEL, path="/tree", status=403, message=said)
    _, message = node.failed()

    assert all(secret not in message for secret in ("pass", "0123", "4567"))
    assert all(told in message for told in ("mirror/a/b", "/relative"))


def test_the_password_of_a_mirror_is_kept_secret(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, status=500)
    pod = node.start(HF_ENDPOINT=hub.url.replace("http://", "http://me:password@"))
    pod.failed()

    assert "password" not in pod.log


def test_what_the_hub_says_at_length_is_cut_to_what_the_kubelet_takes(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="/tree", status=403, message="no " * 1500 + "\u2603")
    pod = node.start()

    assert pod.failed()[0] == "HubAccessDenied"
    assert len((pod.folder / "termination-log").read_bytes()) <= 2000


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../../../escaped.json", "oid": "a" * 40},
        {"path": "/tmp/escaped.json", "oid": "a" * 40},  # noqa: S108 -- nobody writes there
        {"path": "a//escaped.json", "oid": "a" * 40},
        {"path": "escaped.json", "oid": "../../escaped"},
        {"path": "escaped.json", "oid": "a" * 40, "lfs": {"oid": "../../../../escaped"}},
        {"path": "escaped.json", "oid": "*"},
        {"path": "escaped\n.json", "oid": "a" * 40},
        {"path": "escaped.json"},
    ],
)
def test_a_listing_that_leads_out_of_the_cache_is_refused(
    hub: HubThread, node: Node, entry: dict[str, object]
) -> None:
    hub.fault(repository=MODEL, entries=[{"type": "file", "size": 3, **entry}])
    reason, message = node.failed()

    assert reason == "HubUnavailable"
    assert "the hub's listing can't be read" in message
    assert not [path for path in node.folder.rglob("*escaped*") if path.is_file()]


def test_a_mirror_that_answers_with_a_page_for_people_is_unavailable(node: Node, hub: HubThread) -> None:
    reason, message = node.failed(HF_ENDPOINT=f"{hub.url}/_hub/health?")

    assert reason == "HubUnavailable"
    assert "the hub's listing can't be read" in message


def test_an_order_that_can_t_be_read_is_said(node: Node) -> None:
    pod = node.start(PILOTHOUSE_FETCH="{}")

    assert pod.failed() == ("FetchFailed", "KeyError: 'artifacts'")
    assert "in parse" in pod.log


def test_sigterm_ends_a_download_at_once(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=MIB)
    pod = node.start()
    pod.wait_progress("the download", lambda told: told["phase"] == "Downloading")
    pod.process.send_signal(signal.SIGTERM)

    assert pod.end() == 128 + signal.SIGTERM
    assert pod.said is None


def test_sigterm_ends_one_that_waits_for_another(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=MIB)
    first = node.start()
    first.wait_progress("the download", lambda told: told["phase"] == "Downloading")
    second = node.start()
    wait_for("the second to wait", lambda: "another pod fetches" in second.log)
    os.kill(second.process.pid, signal.SIGTERM)

    assert second.end() == 128 + signal.SIGTERM
    assert first.process.poll() is None


def test_every_line_of_the_log_is_json_of_its_own(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, path="config.json", cut=10, count=1)
    pod = node.start()
    pod.fetched()

    lines = [json.loads(line) for line in pod.log.splitlines()]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    assert "warning" in {line["level"] for line in lines}


def test_another_path_than_the_progress_is_not_found(hub: HubThread, node: Node) -> None:
    hub_with_large_weights(hub, slow=MIB)
    pod = node.start()
    pod.wait_progress("the start", lambda _: True)

    with socket.create_connection(("127.0.0.1", pod.port)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 404 " in connection.recv(100)
