"""A replacement, tick by tick, as people would see it: one line each, revisions as letters."""

from collections.abc import Callable

from builders import OTHER_COMMIT, Cluster, condition, queue_class
from pilothouse.plan.observed import Object, key_of
from pilothouse.plan.types import Plan

B: Object = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
C: Object = {"model": {"checkpoint": {"revision": "c" * 40}}}
SHORT = {
    "ControllerRevision": "record",
    "Deployment": "pods",
    "HTTPRoute": "route",
    "PodDisruptionBudget": "budget",
    "Service": "service",
}
COLUMNS = "{:<6} {:<6} {:<6} {:<12} {:<11} {:<19} {:<38} {}"


class TickLog:
    """Ticks a cluster and writes down what each tick shows and does."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.letters: dict[str, str] = {}
        self.lines = [
            COLUMNS.format("time", "stable", "canary", "weights", "phase", "Ready", "applied", "pruned")
        ]

    def do(self, what: str, spec: Object | None = None, **fields: object) -> None:
        """Change what is seen, and say so in a line of its own."""
        self.lines.append(f"# {what}")
        self.cluster.change(spec, **fields)

    def tick(self, times: int = 1) -> None:
        """Plan and carry out, and write one line each."""
        for _ in range(times):
            now, before = self.cluster.seen.now, dict(self.cluster.seen.children)
            after = self.cluster.tick(seconds=10)
            applied = [obj for obj in after.objects if _differs(obj, before.get(key_of(obj)))]
            self.lines.append(self._line(f"{now:%M:%S}", after, applied))

    def _line(self, time: str, after: Plan, applied: list[Object]) -> str:
        status = after.status
        stable, canary = (status.get(part, {}).get("revision") for part in ("stable", "canary"))
        pruned = [f"{SHORT[key.kind]} {self._revision(key.name)}" for key in after.prunes]
        did = [f"{SHORT[obj['kind']]} {self._revision(obj['metadata']['name'])}" for obj in applied]
        line = COLUMNS.format(
            time,
            self._letter(stable),
            self._letter(canary),
            self._weights(),
            status["phase"],
            condition(after, "Ready")["reason"],
            _grouped(did),
            _grouped(pruned),
        )
        return line.rstrip()

    def _weights(self) -> str:
        """Shares in the live route: a plan may leave it as it is."""
        route = self.cluster.seen.child("HTTPRoute", "qwen-coder")
        refs = route["spec"]["rules"][0]["backendRefs"] if route else []
        return " ".join(f"{self._revision(ref['name'])}:{ref['weight']}" for ref in refs) or "-"

    def _revision(self, name: str) -> str:
        return "" if name == "qwen-coder" else self._letter(name.rpartition("-")[2])

    def _letter(self, revision: str | None) -> str:
        if revision is None:
            return "-"
        return self.letters.setdefault(revision, chr(ord("A") + len(self.letters)))


def _differs(obj: Object, live: Object | None) -> bool:
    if not live:
        return True
    metadata = {name: value for name, value in live["metadata"].items() if name != "generation"}
    return obj != {**{name: value for name, value in live.items() if name != "status"}, "metadata": metadata}


def _grouped(changes: list[str]) -> str:
    """Changes by revision: `A: record pods`."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        kind, _, revision = change.partition(" ")
        groups.setdefault(revision, []).append(kind)
    ordered = sorted(groups.items(), reverse=True)
    return ", ".join(
        f"{revision}: {' '.join(kinds)}" if revision else " ".join(kinds) for revision, kinds in ordered
    )


def test_a_replacement(golden: Callable[[str, str], None]) -> None:
    log = TickLog()
    log.tick(3)
    log.do("other weights; the new pods load for a while", B)
    log.cluster.broken = {_planned_name(log.cluster)}
    log.tick(2)
    log.do("the new pods are ready; the gateway takes its time")
    log.cluster.broken = set()
    log.cluster.gateway_answers = False
    log.tick(3)
    log.do("the gateway follows")
    log.cluster.gateway_answers = True
    log.tick(3)
    golden("replacement.log", "\n".join([*log.lines, ""]))


def test_an_abandoned_replacement(golden: Callable[[str, str], None]) -> None:
    log = TickLog()
    log.tick(2)
    log.do("other weights that never load", B)
    log.cluster.broken = {_planned_name(log.cluster)}
    log.tick(2)
    log.do("others, that do not load either", C)
    log.cluster.broken |= {_planned_name(log.cluster)}
    log.tick(2)
    log.do("back to what serves", {})
    log.tick(2)
    golden("abandoned.log", "\n".join([*log.lines, ""]))


def test_a_lost_queue_class(golden: Callable[[str, str], None]) -> None:
    log = TickLog()
    log.tick(2)
    log.do("the queue class is deleted", queue_class=None)
    log.tick(2)
    log.do("three replicas and other weights are asked for meanwhile", {**B, "replicas": 3})
    log.tick(2)
    log.do("the queue class is back", queue_class=queue_class())
    log.tick(4)
    golden("lost-queue-class.log", "\n".join([*log.lines, ""]))


def _planned_name(cluster: Cluster) -> str:
    """Name of the Deployment that the next tick brings."""
    known = {key.name for key in cluster.seen.children if key.kind == "Deployment"}
    return next(name for name in _deployments(cluster) if name not in known)


def _deployments(cluster: Cluster) -> list[str]:
    preview = Cluster(cluster.seen)
    return [obj["metadata"]["name"] for obj in preview.plan.objects if obj["kind"] == "Deployment"]
