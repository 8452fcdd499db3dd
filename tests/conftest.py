"""Fixtures for tests on a real Kubernetes: the cluster is started when the first test asks for it.

Files run side by side, each in one process (`pytest --dist=loadfile`). A file with the mark `alone` has the
cluster to itself: it waits until no other file uses the cluster, and the others wait for it. One process runs
all such files, and beside them the others run what uses no cluster, or one of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import pytest
from xdist.remote import Producer

from harness import cluster, gateway, hub_service
from harness import kubectl as tool
from harness.paths import LOCK
from sharing import ALONE, Sharing
from turns import among_others, by_itself

Kubectl = Callable[..., str]

TURNS = LOCK.with_name("turns.lock")
AMONG_OTHERS, BY_ITSELF, ELSEWHERE = range(3)
"""How the tests of a file use the cluster, in the order in which they begin."""

USES = pytest.StashKey[dict[Path, int]]()
ON_A_CLUSTER = [Path(__file__).parent / folder for folder in ("e2e", "integration")]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing | None:
    """Share files among processes, where it is files that are shared."""
    return Sharing(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put files in the order of their use, and give tests on a cluster the time that their waits may take."""
    files = groupby(items, key=lambda item: item.path)
    uses = config.stash[USES] = {path: use_of(list(found)) for path, found in files}
    items.sort(key=lambda item: (uses[item.path], comes_last(item)))
    for item in filter(has_deadlines, items):
        item.add_marker(pytest.mark.timeout(600))


def has_deadlines(item: pytest.Item) -> bool:
    """Tell whether each wait of a test has a deadline of its own, and the test as a whole has none."""
    return any(map(item.path.is_relative_to, ON_A_CLUSTER)) and not item.get_closest_marker("timeout")


def comes_last(item: pytest.Item) -> bool:
    """Tell whether a test comes after the others that run alone: the other processes may be done by then."""
    mark = item.get_closest_marker(ALONE)
    return bool(mark and mark.kwargs.get("last"))


def use_of(items: Sequence[pytest.Item]) -> int:
    """How the tests of one file use the cluster."""
    if not any("kubeconfig" in getattr(item, "fixturenames", ()) for item in items):
        return ELSEWHERE
    return BY_ITSELF if any(item.get_closest_marker(ALONE) for item in items) else AMONG_OTHERS


@pytest.fixture(scope="module", autouse=True)
def _turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait until the tests of this file may use the cluster."""
    use = request.config.stash[USES][request.path]
    if use == ELSEWHERE:
        yield
        return
    with by_itself(TURNS) if use == BY_ITSELF else among_others(TURNS):
        yield


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of the cluster that KUBECONFIG names, else of the harness's own."""
    return cluster.up()


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """`kubectl(*argv, input=None)`: returns stdout, raises HarnessError with stderr."""

    def call(*argv: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        return tool.kubectl(kubeconfig, *argv, stdin=input)

    return call


@pytest.fixture(scope="session")
def gateway_url(kubeconfig: Path) -> str:
    """The base URL of the Gateway `models`."""
    return gateway.url(kubeconfig)


@pytest.fixture(scope="session")
def hub_url(kubeconfig: Path) -> str:
    """The base URL of the cluster's hub of models."""
    return hub_service.url(kubeconfig)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own; its deletion is begun and not waited for."""
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
