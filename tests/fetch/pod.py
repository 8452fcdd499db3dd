"""A pod's init container without the pod: the program as a process, led to a hub and a cache."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.logs import records
from harness.shell import wait_for
from pilothouse.control.podcode import pod_files
from pilothouse.plan.podlayout import FETCH

MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"
COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"
SNAPSHOT = f"models--{MODEL.replace('/', '--')}/snapshots/{COMMIT}"
BLOBS = f"models--{MODEL.replace('/', '--')}/blobs"
SECONDS = 90

Object = dict[str, Any]


def checkpoint(source: str = f"hf://{MODEL}", revision: str = COMMIT, **more: str) -> Object:
    return {"role": "checkpoint", "source": source, "revision": revision, **more}


def tokenizer(source: str = f"hf://{MODEL}", revision: str = COMMIT, **more: str) -> Object:
    return {"role": "tokenizer", "source": source, "revision": revision, **more}


def wanted(*artifacts: Object, **changes: Any) -> Object:
    """PILOTHOUSE_FETCH; by default the checkpoint with its tokenizer, and no pin but the license."""
    return {
        "artifacts": list(artifacts) or [checkpoint()],
        "license": {"id": "Apache-2.0", "names": ["apache-2.0"], "textDigest": None},
        "fingerprint": None,
        "remoteCode": False,
        **changes,
    }


def licensed(license_id: str, *names: str, text: str | None = None) -> Object:
    return {"id": license_id, "names": list(names), "textDigest": text}


@dataclass
class Pod:
    """One run of the program."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """End it as a node's failure does."""
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """All that it wrote to stdout and stderr."""
        return (self.folder / "log").read_text()

    @property
    def events(self) -> list[str]:
        """The events of its log."""
        return [record["event"] for record in records(self.log)]

    @property
    def said(self) -> Object | None:
        """What the termination log holds."""
        path = self.folder / "termination-log"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def manifest(self) -> Object:
        """What it left for the engine."""
        found: Object = json.loads((self.folder / "run" / "manifest.json").read_text())
        return found

    def failed(self) -> tuple[str, str]:
        """Wait for the end, which must be a failure; return reason and message."""
        assert self.end() == 1, self.log
        assert not (self.folder / "run" / "manifest.json").exists()
        assert self.said is not None
        return self.said["reason"], self.said["message"]

    def fetched(self) -> Object:
        """Wait for the end, which must be a success; return the manifest."""
        assert self.end() == 0, self.log
        assert self.said is None
        return self.manifest

    def progress(self) -> Object | None:
        """Ask how far it is; None if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/pilothouse/fetch") as answer:
                found: Object = json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return None
        return found

    def wait_progress(self, what: str, is_so: Callable[[Object], bool]) -> None:
        """Wait until its progress is as it should be."""

        def asked() -> bool:
            assert self.process.poll() is None, f"It ended before {what}: {self.log}"
            found = self.progress()
            return found is not None and is_so(found)

        wait_for(what, asked, seconds=SECONDS, pause=0.02)


@dataclass
class Node:
    """Starts pods; those with the same cache share it."""

    folder: Path
    python: str
    endpoint: str
    wrapper: tuple[str, ...] = ()
    pods: list[Pod] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """The cache that pods share."""
        return self.folder / "cache"

    def snapshot(self, repository_snapshot: str = SNAPSHOT) -> Path:
        """The folder that the engine reads."""
        return self.cache / "hub" / repository_snapshot

    def files(self) -> set[str]:
        """What lies in it."""
        found = self.snapshot().rglob("*")
        return {
            path.relative_to(self.snapshot()).as_posix()
            for path in found
            if path.is_symlink() or not path.is_dir()
        }

    def start(self, request: Object | None = None, **environment: str) -> Pod:
        """Start a pod."""
        folder = self.folder / f"pod-{len(self.pods)}"
        code = folder / "code"
        code.mkdir(parents=True)
        for name, text in pod_files().items():
            (code / name).write_text(text)
        port = free_port()
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "HF_HOME": str(self.cache),
            "HF_ENDPOINT": self.endpoint,
            "PILOTHOUSE_FETCH": json.dumps(wanted() if request is None else request),
            "PILOTHOUSE_FETCH_PORT": str(port),
            "PILOTHOUSE_RUN": str(folder / "run"),
            "PILOTHOUSE_TERMINATION_LOG": str(folder / "termination-log"),
            **environment,
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*self.wrapper, self.python, code / FETCH], env=given, stdout=log, stderr=subprocess.STDOUT
            )
        pod = Pod(process, folder, port)
        self.pods.append(pod)
        return pod

    def fetched(self, request: Object | None = None, **environment: str) -> Object:
        """Start a pod, wait for its success, and return the manifest."""
        return self.start(request, **environment).fetched()

    def failed(self, request: Object | None = None, **environment: str) -> tuple[str, str]:
        """Start a pod, wait for its failure, and return reason and message."""
        return self.start(request, **environment).failed()

    def python_says(self, code: str, *arguments: str, **environment: str) -> str:
        """Run Python with this cache and without a hub, and return what it prints."""
        given = {"PATH": os.environ["PATH"], "HF_HOME": str(self.cache), **environment}
        command = [self.python, "-c", code, *arguments]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout.strip()

    def stop(self) -> None:
        """End what still runs."""
        for pod in self.pods:
            pod.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
