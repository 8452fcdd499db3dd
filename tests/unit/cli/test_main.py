"""The command line itself: its words, what goes where, and the exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from builders import manifest
from pilothouse.cli import main as entry
from pilothouse.errors import Retryable
from unit.cli.fake_cluster import FakeCluster

SERVES = {"stable": {"revision": "7f3a9c1d20", "checkpointRevision": "c0", "licenseID": "MIT"}}

Run = Callable[..., int]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A cluster with one model, in place of the one that a kubeconfig names."""
    fake = FakeCluster().put({**manifest(), "status": SERVES})

    @asynccontextmanager
    async def reach(_: str | None) -> AsyncIterator[FakeCluster]:
        yield fake

    monkeypatch.setattr(entry, "reach", reach)
    monkeypatch.setattr(entry, "default_namespace", lambda _: "team-ide")
    return fake


@pytest.fixture
def run(cluster: FakeCluster) -> Run:
    """`run(*argv)` returns the exit code."""
    del cluster

    def call(*argv: str) -> int:
        with pytest.raises(SystemExit) as end:
            entry.main(argv)
        return int(end.value.code or 0)

    return call


def test_a_word_about_nothing_is_refused_in_one_sentence(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("promote", "qwen-coder") == 1
    assert capsys.readouterr().err == (
        "pilothouse: team-ide/qwen-coder: no rollout is under way; revision 7f3a9c1d20 serves\n"
    )


def test_a_word_is_written_in_the_namespace_that_is_named(run: Run, cluster: FakeCluster) -> None:
    status = {"canary": {"revision": "0c9d8e7f60"}, "rollout": {"state": "Holding"}}
    cluster.put({**manifest(namespace="team-ml"), "status": status})

    assert run("abort", "qwen-coder", "-n", "team-ml", "--note", "too slow") == 0
    ((key, _, text),) = cluster.annotations
    assert (key.namespace, text) == ("team-ml", "abort/0c9d8e7f60/too slow")


def test_a_model_that_is_not_there_is_exit_code_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("abort", "nobody") == 2
    assert "not found" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_exit_code_2(run: Run, cluster: FakeCluster) -> None:
    cluster.refusals["ModelDeployment"] = Retryable("no route to host")

    assert run("verify", "qwen-coder") == 2


def test_a_report_as_json_has_nothing_else_on_stdout(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "-A", "-o", "json", "--as-of", "2026-11-01T00:00:00Z") == 0
    shown = capsys.readouterr()

    assert json.loads(shown.out)["notes"]
    assert shown.err == ""


def test_what_a_table_does_not_know_stands_on_stderr(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "--as-of", "2026-11-01T00:00:00+02:00") == 0
    shown = capsys.readouterr()

    assert "its history is empty" in shown.err
    assert shown.out.splitlines()[0].startswith("NAMESPACE")


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-01T00:00:00", "2999-01-01T00:00:00Z"])
def test_a_moment_that_can_not_be_reported_is_refused(run: Run, moment: str) -> None:
    assert run("report", "--as-of", moment) == 2


def test_what_is_not_held_is_exit_code_1(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("doctor") == 0
    cluster.lacks = {"httproutes"}
    assert run("doctor", "-o", "json") == 1
    assert "install the Gateway API" in capsys.readouterr().out


def test_no_running_pod_is_no_failure(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    assert capsys.readouterr().out == "No running pods.\n"


@pytest.mark.parametrize("argv", [(), ("approve",), ("report", "-A", "-n", "x"), ("verify", "x", "-A")])
def test_a_wrong_command_line_is_refused(run: Run, argv: tuple[str, ...]) -> None:
    assert run(*argv) == 2


def test_as_a_plug_in_it_calls_itself_by_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-pilothouse"])

    assert entry.parser().format_usage().startswith("usage: kubectl pilothouse")


def test_the_operator_is_a_subcommand() -> None:
    environment = {**os.environ, "PILOTHOUSE_WORKERS": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", "from pilothouse.cli.main import main; main(['operator'])"]
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("pilothouse: bad settings")
