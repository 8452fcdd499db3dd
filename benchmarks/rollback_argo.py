"""Argo Rollouts as the benchmark of rollbacks uses it: its controller from its Go module, as a process.

It steers the same gateway with the same engines behind it, and judges them by a Prometheus that scrapes them
every second: set for speed, more than anyone would in production.
"""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from engine_pods import COSTS, CPU, PORT, addresses
from fleet import until

from e2e.manifests import IMAGE, MODEL
from harness import builds, debian
from harness.api import Api, Object
from harness.kubectl import kubectl

NAME = "coder"
CANARY, STABLE = f"{NAME}-canary", f"{NAME}-stable"
PLUGIN = "pilothouse/gateway"
CONTROLLER_NAMESPACE = "argo-rollouts"
HASH = "rollouts-pod-template-hash"
ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts"
TEMPLATES = "/apis/argoproj.io/v1alpha1/namespaces/{}/analysistemplates"
HTTP_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"
WEIGHT = 50
PATIENCE = 180
TARGETS = "targets.json"

ERRORS = (
    'sum(rate(http_requests_total{hash="{{args.canary}}",status="5xx"}[5s]))'
    ' / sum(rate(http_requests_total{hash="{{args.canary}}"}[5s]))'
)
SLOWNESS = " / ".join(
    "histogram_quantile(0.95, sum by (le) "
    f'(rate(vllm:time_to_first_token_seconds_bucket{{hash="{{{{args.{arm}}}}}"}}[10s])))'
    for arm in ("canary", "stable")
)


@dataclass(frozen=True)
class Rule:
    """What an analysis measures and how often, in seconds; how many failures it lets pass."""

    name: str
    query: str
    highest: float
    interval: int
    failure_limit: int


class Argo:
    """One Rollout whose revisions are rolled out and back, judged by one AnalysisTemplate."""

    def __init__(self, api: Api, namespace: str, template: str, targets: Path) -> None:
        self.namespace = namespace
        self._targets = targets
        self._api = api
        self._template = template
        self._path = f"{ROLLOUTS.format(namespace)}/{NAME}"

    async def status(self) -> Object:
        """Return the Rollout's status."""
        found: Object = (await self._api.get(self._path)).get("status", {})
        return found

    async def stable(self) -> str:
        """Return the Service of the revision that serves."""
        return STABLE

    async def roll(self) -> str:
        """Ask for another revision, wait until its weight is held, and return its Service."""
        rollout = await self._api.get(self._path)
        rollout["spec"]["template"] = _pod(os.urandom(20).hex())
        rollout["spec"]["strategy"]["canary"]["analysis"] = _analysis(self._template)
        await self._api.merge(self._path, {"spec": rollout["spec"]})
        await until(self._holds, PATIENCE)
        await self._let_scrape()
        return CANARY

    async def engines(self, service: str) -> list[str]:
        """Return the addresses of the pods behind one of the two Services."""
        found = await self._api.get(f"/api/v1/namespaces/{self.namespace}/services/{service}")
        return await addresses(self._api, self.namespace, found["spec"]["selector"])

    async def settle(self) -> str:
        """Wait until the rollout is over, and return why it was rolled back."""
        await until(self._rests, PATIENCE)
        return str((await self.status()).get("message", "").partition(":")[0])

    async def _let_scrape(self) -> None:
        """Name the engines to Prometheus: Debian's is built without a client of Kubernetes."""
        status = await self.status()
        services = {CANARY: status["currentPodHash"], STABLE: status["stableRS"]}
        groups = [
            {"targets": [f"{a}:{PORT}" for a in await self.engines(service)], "labels": {"hash": revision}}
            for service, revision in services.items()
        ]
        unfinished = self._targets.with_suffix(".tmp")
        unfinished.write_text(json.dumps(groups))
        unfinished.rename(self._targets)

    async def _holds(self) -> bool:
        status = await self.status()
        return bool(status.get("pauseConditions")) and status.get("currentPodHash") != status.get("stableRS")

    async def _rests(self) -> bool:
        return bool((await self.status()).get("abort"))


@contextmanager
def controller(kubeconfig: Path, folder: Path, namespace: str) -> Iterator[None]:
    """Run the controller while the block runs; with it goes all that it left in the namespace."""
    built = builds.build(builds.PEER)
    crds = [f"--filename={path}" for path in sorted((built / "crds").glob("*-crd.yaml"))]
    kubectl(kubeconfig, "apply", "--server-side", *crds)
    kubectl(kubeconfig, "apply", "--server-side", "--filename=-", stdin=json.dumps(_settings(built)))
    argv: list[str | Path] = [
        built / "rollouts-controller",
        "--kubeconfig",
        kubeconfig,
        "--leader-elect=false",
    ]
    ports = [f"--{name}={_free_port()}" for name in ("metricsPort", "healthzPort")]
    try:
        with _process([*argv, *ports], folder, "controller", kubeconfig):
            yield
    finally:
        kubectl(kubeconfig, "delete", "namespace", CONTROLLER_NAMESPACE, namespace, "--ignore-not-found")
        kubectl(kubeconfig, "delete", *crds)


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Run Debian's Prometheus, which scrapes the engines named in `folder` every second; give its URL."""
    debian.install(["prometheus"])
    config, address = folder / "prometheus.yaml", f"127.0.0.1:{_free_port()}"
    config.write_text(json.dumps(_scraping(folder / TARGETS)))
    flags = {
        "config.file": config,
        "storage.tsdb.path": folder / "prometheus",
        "web.listen-address": address,
    }
    argv = ["prometheus", *(f"--{name}={value}" for name, value in flags.items())]
    with _process(argv, folder, "prometheus"):
        yield f"http://{address}"


@asynccontextmanager
async def argo(api: Api, namespace: str, prometheus_url: str, rules: Iterable[Rule]) -> AsyncIterator[None]:
    """Serve one model, by a Rollout and a route; what `controller` takes away in the end."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    for service in (STABLE, CANARY):
        await api.create(f"/api/v1/namespaces/{namespace}/services", _service(service))
    await api.create(HTTP_ROUTES.format(namespace), _route(namespace))
    for rule in rules:
        await api.create(TEMPLATES.format(namespace), _template(rule, prometheus_url))
    await api.create(ROLLOUTS.format(namespace), _rollout())
    await until(lambda: _is_healthy(api, namespace), PATIENCE)
    yield


async def _is_healthy(api: Api, namespace: str) -> bool:
    found = await api.get(f"{ROLLOUTS.format(namespace)}/{NAME}")
    return bool(found.get("status", {}).get("phase") == "Healthy")


@contextmanager
def _process(
    argv: Sequence[str | Path], folder: Path, name: str, kubeconfig: Path | None = None
) -> Iterator[None]:
    environment = os.environ | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with closing(socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _settings(built: Path) -> Object:
    """Say where the controller finds the traffic router."""
    plugins = [{"name": PLUGIN, "location": f"file://{built / 'argo-gateway-router'}"}]
    metadata = {"name": "argo-rollouts-config", "namespace": CONTROLLER_NAMESPACE}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"trafficRouterPlugins": json.dumps(plugins)},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONTROLLER_NAMESPACE}}
    return {"apiVersion": "v1", "kind": "List", "items": [namespace, config]}


def _scraping(targets: Path) -> Object:
    job = {"job_name": "engines", "file_sd_configs": [{"files": [str(targets)]}]}
    return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}


def _template(rule: Rule, prometheus_url: str) -> Object:
    holds = f"len(result) == 0 || isNaN(result[0]) || isInf(result[0]) || result[0] <= {rule.highest}"
    metric = {
        "name": rule.name,
        "interval": f"{rule.interval}s",
        "failureLimit": rule.failure_limit,
        "successCondition": holds,
        "provider": {"prometheus": {"address": prometheus_url, "query": rule.query}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": rule.name},
        "spec": {"args": [{"name": "canary"}, {"name": "stable"}], "metrics": [metric]},
    }


def _analysis(template: str) -> Object:
    return {
        "templates": [{"templateName": template}],
        "args": [
            {"name": "canary", "valueFrom": {"podTemplateHashValue": "Latest"}},
            {"name": "stable", "valueFrom": {"podTemplateHashValue": "Stable"}},
        ],
        "startingStep": 1,
    }


def _rollout() -> Object:
    canary = {
        "canaryService": CANARY,
        "stableService": STABLE,
        "trafficRouting": {"plugins": {PLUGIN: {"httpRoute": NAME}}},
        "steps": [{"setCanaryScale": {"replicas": 1}}, {"setWeight": WEIGHT}, {"pause": {}}],
        # 0 would keep the pods for ever.
        "abortScaleDownDelaySeconds": 1,
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": NAME}},
            "template": _pod(os.urandom(20).hex()),
            "strategy": {"canary": canary},
        },
    }


def _pod(commit: str) -> Object:
    engine = {
        "name": "engine",
        "image": IMAGE,
        "args": [
            "Qwen/Qwen2.5-Coder-7B-Instruct",
            f"--revision={commit}",
            f"--served-model-name={MODEL}",
            "--max-num-seqs=128",
        ],
        "env": [{"name": name, "value": value} for name, value in COSTS.items()],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": CPU, "memory": "256Mi"}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 -- vLLM's shared memory
    }
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    return {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [engine], "volumes": [shm]}}


def _service(name: str) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": NAME}, "ports": ports}}


def _route(namespace: str) -> Object:
    path = {"type": "ReplaceFullPath", "replaceFullPath": "/v1/completions"}
    weights = {STABLE: 100, CANARY: 0}
    rule = {
        "matches": [{"path": {"type": "Exact", "value": f"/{namespace}/{NAME}/v1/completions"}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": path}}],
        "backendRefs": [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": NAME},
        "spec": {"parentRefs": [{"name": "models", "namespace": "gateways"}], "rules": [rule]},
    }
