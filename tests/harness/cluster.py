"""The cluster in use: the one that KUBECONFIG names, else kind's, else this machine's own."""

import json
import os
from pathlib import Path
from typing import Protocol

from harness import builds, debian, gateway, hub_service, images, kind, node, processes
from harness.kubectl import get, kubectl
from harness.paths import KUBECONFIG, LOCK
from harness.shell import HarnessError, alone, progress

DEFAULT_GPUS = "8"
LOADED = KUBECONFIG.parent / "loaded"


class Provider(Protocol):
    """A way of having a cluster: the modules `kind` and `node`."""

    PROGRAMS: tuple[str, ...]
    SERVICE_TYPE: str

    def refusal(self) -> str: ...
    def is_running(self) -> bool: ...
    def status(self) -> dict[str, bool]: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def load(self, archive: Path) -> None: ...


def up() -> Path:
    """Make sure that a cluster with Envoy Gateway, a hub and the images of today runs; return its kubeconfig.

    A cluster that KUBECONFIG names is used as it is.

    Raises:
        HarnessError: this machine cannot run one, or a part of it did not become ready.

    """
    named = given()
    if named:
        return named
    chosen = provider()
    with alone(LOCK):
        archives = _build(chosen)
        if not chosen.is_running():
            with progress("starting Kubernetes"):
                chosen.start()
            give_gpus()
        _load(chosen, archives)
        _serve(chosen)
    return KUBECONFIG


def down() -> None:
    """Remove the harness's own cluster, as far as it is there; where KUBECONFIG names another, do nothing."""
    if given():
        return
    chosen = provider()
    with alone(LOCK):
        chosen.stop()


def build() -> list[Path]:
    """Install, build and make what the cluster needs and this machine lacks; return the image archives.

    A cluster that KUBECONFIG names needs nothing.

    Raises:
        HarnessError: something could not be built.

    """
    if given():
        return []
    chosen = provider()
    with alone(LOCK):
        return _build(chosen)


def add(*more: images.Image) -> None:
    """Make more images and give them to the harness's own cluster, which runs.

    Raises:
        HarnessError: one could not be made, or the cluster is one that KUBECONFIG names.

    """
    if given():
        raise HarnessError("Only the harness's own cluster can be given images: unset KUBECONFIG.")
    chosen = provider()
    with alone(LOCK):
        _load(chosen, [images.build(image) for image in more])


def kubeconfig() -> Path:
    """Return the kubeconfig of the cluster that runs.

    Raises:
        HarnessError: none runs.

    """
    path = given() or KUBECONFIG
    if not path.exists():
        raise HarnessError("No cluster runs; `make cluster` starts one.")
    return path


def gateway_url() -> str:
    """Return the base URL of the Gateway `models`, reachable from this machine, such as `http://10.96.3.7:80`."""
    return gateway.url(kubeconfig())


def stop_component(name: str) -> None:
    """End a component of this machine's own cluster, such as `kube-apiserver`, as `kill` does."""
    processes.stop(name)


def kill_component(name: str) -> None:
    """End a component of this machine's own cluster as `kill -9` does."""
    processes.kill(name)


def start_component(name: str) -> None:
    """Start a component of this machine's own cluster again, and wait until it is ready.

    Raises:
        KeyError: there is no such component.
        HarnessError: it did not become ready.

    """
    node.start_component(name)


def hub_url() -> str:
    """Return the base URL of the hub that models are fetched from, reachable from this machine."""
    return hub_service.url(kubeconfig())


def status() -> dict[str, bool]:
    """Return for each part of the harness's own cluster whether it runs and answers."""
    parts = provider().status()
    runs = KUBECONFIG.exists() and all(parts.values())
    served = {"gateway": gateway.is_ready, "hub": hub_service.is_ready}
    return parts | {name: runs and is_ready(KUBECONFIG) for name, is_ready in served.items()}


def given() -> Path | None:
    """Return the kubeconfig that KUBECONFIG names, unless it is the harness's own."""
    named = Path(os.environ.get("KUBECONFIG") or KUBECONFIG)
    return None if named == KUBECONFIG else named


def provider() -> Provider:
    """Return what gives the harness its own cluster on this machine.

    Raises:
        HarnessError: this machine cannot run one.

    """
    chosen: Provider = kind if kind.is_possible() else node
    refusal = chosen.refusal()
    if refusal:
        raise HarnessError(refusal)
    return chosen


def _build(chosen: Provider) -> list[Path]:
    debian.install(chosen.PROGRAMS)
    builds.build_all()
    return images.build_all()


def _serve(chosen: Provider) -> None:
    """Install what runs in pods, one beside the other."""
    waits_for_hub = not hub_service.is_ready(KUBECONFIG)
    if waits_for_hub:
        hub_service.apply(KUBECONFIG, chosen.SERVICE_TYPE)
    if not gateway.is_ready(KUBECONFIG):
        with progress("installing Envoy Gateway"):
            gateway.install(KUBECONFIG, chosen.SERVICE_TYPE)
    if waits_for_hub:
        with progress("waiting for the hub"):
            hub_service.wait_ready(KUBECONFIG)


def _load(provider: Provider, archives: list[Path]) -> None:
    """Give the cluster the images that it does not have yet in this very content."""
    LOADED.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        if not (LOADED / archive.name).exists():
            provider.load(archive)
            (LOADED / archive.name).touch()


def service_type() -> str:
    """Return the type of a Service that this machine can reach: ClusterIP, or NodePort."""
    return "NodePort" if given() else provider().SERVICE_TYPE


def give_gpus() -> None:
    """Let the node have GPUs: there are none, and the engine of the tests needs none."""
    count = os.environ.get("PILOTHOUSE_FAKE_GPUS", DEFAULT_GPUS)
    fields = ("capacity", "allocatable")
    patch = [{"op": "add", "path": f"/status/{field}/nvidia.com~1gpu", "value": count} for field in fields]
    name = get(KUBECONFIG, "nodes")[0]["metadata"]["name"]
    kubectl(
        KUBECONFIG,
        "patch",
        "node",
        name,
        "--subresource=status",
        "--type=json",
        f"--patch={json.dumps(patch)}",
    )
