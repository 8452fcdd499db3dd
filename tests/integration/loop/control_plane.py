"""A Kubernetes control plane of the tests' own: etcd, API server and controllers, without a node.

Here the operator runs as a process that tests may kill, and the API server may be stopped, while other tests
use the harness's cluster. What needs pods, a gateway or the installed chart is in tests/e2e.
"""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness import builds, debian
from harness.kubectl import kubeconfig_for, kubectl
from harness.paths import BIN, REPOSITORY
from harness.processes import beside
from harness.shell import GARBAGE, HarnessError, run, wait_for

ADMIN_TOKEN = "admin"  # noqa: S105 -- of an API server on loopback that ends with the tests
GATEWAY_API = "gateway-helm/charts/crds/crds/gatewayapi-crds.yaml"


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class ControlPlane:
    """The processes, in a folder of their own."""

    folder: Path
    api_port: int = field(default_factory=free_port)
    etcd_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def start(self) -> None:
        """Build what is missing and start all; raises HarnessError with the reason."""
        if not shutil.which("etcd"):
            debian.install(["etcd"])
        builds.build_all()
        self._write_keys()
        self.kubeconfig.write_text(self.kubeconfig_for(ADMIN_TOKEN))
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; raises HarnessError with its stderr."""
        return kubectl(self.kubeconfig, *argv, stdin=stdin)

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        keys = self.folder / "keys"
        self._run(
            "kube-apiserver",
            f"{BIN}/kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--secure-port={self.api_port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={keys}",
            f"--service-account-key-file={keys}/service-account.pub",
            f"--service-account-signing-key-file={keys}/service-account.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={keys}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.98.0.0/16",
        )
        wait_for("the API server", self._is_ready, seconds=60)

    def stop_api_server(self) -> None:
        """Stop the API server at once: asked politely, it waits a minute for its watchers."""
        process = self.processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def install_gateway_api(self) -> None:
        """Install the CRDs of the Gateway API."""
        self.kubectl("apply", "--server-side", f"--filename={self._gateway_api()}")
        self.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", f"--filename={self._gateway_api()}"
        )

    def remove_gateway_api(self) -> None:
        """Remove the CRDs of the Gateway API, and with them every Gateway and route."""
        self.kubectl("delete", "--ignore-not-found", f"--filename={self._gateway_api()}")

    def install_chart_rights(self, namespace: str) -> str:
        """Install the chart's CRDs, ServiceAccount and RBAC, and return a token of that ServiceAccount."""
        self.kubectl("apply", "--server-side", f"--filename={REPOSITORY / 'crds'}")
        self.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", f"--filename={REPOSITORY / 'crds'}"
        )
        self.kubectl("create", "namespace", namespace)
        chart = [
            BIN / "helm",
            "template",
            "pilothouse",
            REPOSITORY / "charts/pilothouse",
            "--namespace",
            namespace,
        ]
        shown = [f"--show-only=templates/{name}.yaml" for name in ("serviceaccount", "rbac")]
        self.kubectl("apply", "--filename=-", stdin=run([*chart, *shown]))
        return self.kubectl(
            "--namespace", namespace, "create", "token", "pilothouse", "--duration=24h"
        ).strip()

    def kubeconfig_for(self, token: str) -> str:
        """Write a kubeconfig for the bearer of a token."""
        server = f"https://127.0.0.1:{self.api_port}"
        return kubeconfig_for(server, self.folder / "keys/apiserver.crt", token)

    def _write_keys(self) -> None:
        keys = self.folder / "keys"
        keys.mkdir(parents=True)
        run(["openssl", "genrsa", "-out", keys / "service-account.key", "2048"])
        public = ["-pubout", "-out", keys / "service-account.pub"]
        run(["openssl", "rsa", "-in", keys / "service-account.key", *public])
        (keys / "tokens.csv").write_text(f"{ADMIN_TOKEN},admin,admin,system:masters\n")

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{free_port()}"
        self._run(
            "etcd",
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )

    def _start_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"{BIN}/kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.folder}/keys/service-account.key",
            "--leader-elect=false",
            f"--secure-port={free_port()}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )

    def _run(self, name: str, *argv: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | GARBAGE
            self.processes[name] = subprocess.Popen(beside(argv), stdout=log, stderr=log, env=environment)

    def _is_ready(self) -> bool:
        if self.processes["kube-apiserver"].poll() is not None:
            log = (self.folder / "kube-apiserver.log").read_text()
            raise HarnessError(f"The API server ended: {log[-500:]}")
        try:
            return self.kubectl("get", "--raw=/readyz") == "ok"
        except HarnessError:
            return False

    @staticmethod
    def _gateway_api() -> Path:
        return builds.Module("envoy-gateway").output / GATEWAY_API
