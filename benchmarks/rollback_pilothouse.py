"""The operator as the benchmarks of rollouts use it: installed by its chart, with one model to roll out."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from engine_pods import COSTS, CPU, addresses
from fleet import until

from e2e.installed import NAMESPACE
from e2e.manifests import engine, model, model_deployment
from harness.api import Api, Object
from harness.hub_service import CHART_VALUE
from harness.kubectl import kubectl, tool
from harness.paths import REPOSITORY
from harness.shell import run, succeeds
from pilothouse.kinds import MODEL_DEPLOYMENT, QUEUE_CLASS, ROLLOUT_POLICY
from pilothouse.names import COMMAND, DEPLOYMENT, REVISION, RolloutState, Verb, child_name

MODEL = "coder"
PATIENCE = 180
"""Seconds after which a wait fails."""


class Pilothouse:
    """One model whose revisions are rolled out and back."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.namespace = namespace
        self._api = api
        self._path = MODEL_DEPLOYMENT.path(namespace, MODEL)

    async def status(self) -> Object:
        """Return the model's status."""
        found: Object = (await self._api.get(self._path)).get("status", {})
        return found

    async def stable(self) -> str:
        """Return the Service of the revision that serves."""
        return child_name(MODEL, (await self.status())["stable"]["revision"])

    async def declare(self) -> None:
        """Ask for another revision: one whose weights are pinned to a commit that was never there."""
        await self._api.merge(self._path, {"spec": {"model": model(os.urandom(20).hex())}})

    async def roll(self) -> str:
        """Ask for another revision, wait until its weight is held, and return its Service."""
        await self.declare()
        await until(self._holds, PATIENCE)
        return child_name(MODEL, (await self.status())["canary"]["revision"])

    async def engines(self, service: str) -> list[str]:
        """Return the addresses of a revision's pods."""
        labels = {DEPLOYMENT: MODEL, REVISION: service.removeprefix(f"{MODEL}-")}
        return await addresses(self._api, self.namespace, labels)

    async def abort(self) -> None:
        """Say as people do that the new revision is not wanted."""
        status = await self.status()
        revision = (status.get("canary") or status["stable"])["revision"]
        annotations = {COMMAND: f"{Verb.ABORT}/{revision}"}
        await self._api.merge(self._path, {"metadata": {"annotations": annotations}})

    async def settle(self) -> str:
        """Wait until the rollout is over, and return why it was rolled back."""
        await until(self._rests, PATIENCE)
        return str((await self.status()).get("lastRollback", {}).get("reason", ""))

    async def all_ready(self, replicas: int) -> None:
        """Wait until so many pods serve."""
        await until(lambda: self._has_ready(replicas), PATIENCE)

    async def _has_ready(self, replicas: int) -> bool:
        return (await self.status()).get("readyReplicas", 0) == replicas

    async def _holds(self) -> bool:
        return ((await self.status()).get("rollout") or {}).get("state") == RolloutState.HOLDING

    async def _rests(self) -> bool:
        status = await self.status()
        return bool(status.get("readyReplicas")) and not status.get("rollout")


@contextmanager
def installed(kubeconfig: Path) -> Iterator[None]:
    """Install the chart as it is today; one that was not there is taken away in the end."""
    helm: list[str | Path] = [tool("helm"), "--kubeconfig", kubeconfig, "--namespace", NAMESPACE]
    found = succeeds([*helm, "status", "pilothouse"])
    # helm leaves CRDs that exist as they are.
    crds = f"--filename={REPOSITORY / 'crds'}"
    kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", crds)
    chart = REPOSITORY / "charts/pilothouse"
    waiting = ("--create-namespace", "--wait", "--timeout=3m")
    run([*helm, "upgrade", "--install", "pilothouse", chart, CHART_VALUE, *waiting])
    if found:
        _restart(kubeconfig)
    yield
    if not found:
        run([*helm, "uninstall", "pilothouse", "--wait"])


@asynccontextmanager
async def pilothouse(
    api: Api, namespace: str, policy: Object, lane: Object, spec: Object | None = None
) -> AsyncIterator[Pilothouse]:
    """Serve one model by this policy in this lane, both named as the namespace; all is removed in the end.

    `spec` replaces whole fields of the model's.
    """
    await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    cluster_wide = (QUEUE_CLASS.path(name=namespace), ROLLOUT_POLICY.path(name=namespace))
    for path, obj in zip(cluster_wide, (lane, policy), strict=True):
        await api.apply(path, obj, "bench")
    declared = _declared(namespace)
    declared["spec"] |= spec or {}
    await api.create(MODEL_DEPLOYMENT.path(namespace), declared)
    subject = Pilothouse(api, namespace)
    try:
        await subject.settle()
        yield subject
    finally:
        await api.delete(f"/api/v1/namespaces/{namespace}")
        for path in cluster_wide:
            await api.delete(path)
        await until(lambda: _is_gone(api, namespace), PATIENCE)


def _declared(namespace: str) -> Object:
    env = [{"name": name, "value": value} for name, value in COSTS.items()]
    return model_deployment(
        MODEL,
        namespace,
        namespace,
        engine=engine() | {"env": env},
        resources={"gpu": {"count": 0}, "cpu": CPU, "memory": "256Mi"},
        rollout={"policyName": namespace, "capacity": "Surge"},
    )


async def _is_gone(api: Api, namespace: str) -> bool:
    found = await api.get("/api/v1/namespaces", fieldSelector=f"metadata.name={namespace}")
    return not found["items"]


def _restart(kubeconfig: Path) -> None:
    """Run the image of today: its tag is the same as yesterday's."""
    for words in (("rollout", "restart"), ("rollout", "status", "--timeout=3m")):
        kubectl(kubeconfig, "--namespace", NAMESPACE, *words, "deployment/pilothouse")
