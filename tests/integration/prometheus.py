"""A real Prometheus that scrapes engines, configured as docs/observability.md says.

What its service discovery would write of pods comes from a file.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness import debian
from harness.paths import REPOSITORY
from harness.processes import beside
from integration.simulated import free_port
from pilothouse.plan.observed import Object

_DOCUMENTED = re.compile(r"<!-- scrape config -->\n```yaml\n(.*?)```", re.DOTALL)


def documented_job() -> dict[str, Any]:
    """The scrape configuration that the documentation shows."""
    [text] = _DOCUMENTED.findall((REPOSITORY / "docs/observability.md").read_text())
    [job] = yaml.safe_load(text)["scrape_configs"]
    return dict(job)


def discovered(pod: Object, deployment: str, port: int) -> Object:
    """What Prometheus' Kubernetes service discovery says of a pod's port."""
    meta = "__meta_kubernetes_"
    labels = {
        "namespace": pod["metadata"]["namespace"],
        "pod_name": pod["metadata"]["name"],
        "pod_container_port_name": "http",
        "pod_label_app_kubernetes_io_managed_by": "pilothouse",
        "pod_label_pilothouse_dev_deployment": deployment,
        "pod_label_pilothouse_dev_revision": pod["metadata"]["labels"]["pilothouse.dev/revision"],
    }
    return {
        "targets": [f"{pod['status']['podIP']}:{port}"],
        "labels": {f"{meta}{name}": value for name, value in labels.items()},
    }


class PrometheusServer:
    """A process with its data in a folder; `jobs` are the names of those that scrape the same targets."""

    def __init__(
        self, folder: Path, targets: Sequence[Object], jobs: Sequence[str], address: str = "127.0.0.1"
    ) -> None:
        if not shutil.which("prometheus"):
            debian.install(["prometheus"])
        self._folder = folder
        self._address = f"{address}:{free_port()}"
        self.url = f"http://{self._address}"
        self.tell(targets)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(jobs)))
        self.start()

    def tell(self, targets: Sequence[Object]) -> None:
        """Name what is to be scraped; it is looked at within a second or so."""
        fresh = self._folder / "targets.new"
        fresh.write_text(json.dumps(targets))
        fresh.rename(self._folder / "targets.json")

    def start(self) -> None:
        """Start it, also where it was stopped before: it goes on with its data."""
        argv = [
            "prometheus",
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={self._address}",
        ]
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(beside(argv), cwd=self._folder, stdout=log, stderr=log)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def _configuration(jobs: Sequence[str]) -> Object:
    job = documented_job()
    del job["kubernetes_sd_configs"]
    found = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}],
    }
    return {"scrape_configs": [{**job, **found, "job_name": name} for name in jobs]}
