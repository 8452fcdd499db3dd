"""A rollout, look by look, as people would see it: a line for each change, revisions as letters."""

from collections.abc import Callable
from typing import Any

from builders import OTHER_COMMIT, queue_class
from pilothouse.plan.observed import Object, key_of
from pilothouse.plan.types import Plan
from rollout_scene import OBJECTIVES, scene

B: Object = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
C: Object = {"model": {"checkpoint": {"revision": "c" * 40}}}
SHORT = {
    "ConfigMap": "files",
    "ControllerRevision": "record",
    "Deployment": "pods",
    "HTTPRoute": "route",
    "PodDisruptionBudget": "budget",
    "Service": "service",
}
SHOWN = "{:<6} {:<6} {:<10} {:<9} {:<11} {:<24}"
HEAD = SHOWN.format("stable", "canary", "weights", "pods", "phase", "Ready")
COLUMNS = "{:<8} {} {:<30} {}"


class Log:
    """Watches a scene and writes down each change."""

    def __init__(self) -> None:
        self.scene = scene()
        self.letters: dict[str, str] = {}
        self.lines = [COLUMNS.format("time", HEAD, "applied", "pruned")]
        self.last = ""
        self.watch(3)

    def do(self, what: str, spec: Object | None = None, **fields: Any) -> None:
        """Change what is seen, and say so in a line of its own."""
        self.lines.append(f"# {what}")
        if spec is not None:
            self.scene.edit(spec)
        self.scene.change(**fields)

    def watch(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, and write a line for each plan that shows or does something new."""
        end = self.scene.seconds + seconds
        while self.scene.seconds < end and not until():
            self._look()

    def text(self) -> str:
        """The whole log."""
        return "\n".join([*self.lines, ""])

    def _look(self) -> None:
        before = dict(self.scene.seen.children)
        after = self.scene.step()
        applied = [obj for obj in after.objects if _differs(obj, before.get(key_of(obj)))]
        shown, did, pruned = self._shown(after.status), self._did(applied), self._pruned(after)
        if shown != self.last or did or pruned:
            self.lines.append(COLUMNS.format(f"{self.scene.seconds:.1f}", shown, did, pruned).rstrip())
        self.last = shown

    def _shown(self, status: Object) -> str:
        stable, canary = (status.get(part, {}).get("revision") for part in ("stable", "canary"))
        ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
        return SHOWN.format(
            self._letter(stable),
            self._letter(canary),
            self._weights(),
            self._pods(),
            status["phase"],
            ready["reason"],
        )

    def _did(self, applied: list[Object]) -> str:
        return _grouped(
            [f"{SHORT[obj['kind']]} {self._revision(obj['metadata']['name'])}" for obj in applied]
        )

    def _pruned(self, after: Plan) -> str:
        return _grouped([f"{SHORT[key.kind]} {self._revision(key.name)}" for key in after.prunes])

    def _weights(self) -> str:
        """Shares in the live route: a plan may leave it as it is."""
        shares = self.scene.route_weights().items()
        return " ".join(f"{self._letter(revision)}:{weight}" for revision, weight in shares)

    def _pods(self) -> str:
        asked = ((self._letter(each), self.scene.asked(each)) for each in self.scene.revisions())
        return " ".join(f"{letter}:{pods}" for letter, pods in sorted(asked))

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


def test_a_good_revision_is_promoted(golden: Callable[[str, str], None]) -> None:
    log = Log()
    log.do("other weights, that load for 20 seconds", B)
    log.scene.behaves(log.scene.target, load_seconds=20)
    log.watch(200)
    golden("promoted.log", log.text())


def test_a_bad_revision_is_rolled_back_and_not_tried_again(golden: Callable[[str, str], None]) -> None:
    log = Log()
    log.do("other weights", B)
    log.watch(100, until=lambda: log.scene.weight == 50)
    log.do("one request in ten is slow now")
    log.scene.behaves(log.scene.target, slow=0.1)
    log.watch(120)
    log.do("a person says retry; it is good now")
    log.scene.behaves(log.scene.target, slow=0)
    log.scene.say(f"retry/{log.scene.target}")
    log.watch(300)
    golden("rolled-back.log", log.text())


def test_revisions_that_never_load_are_abandoned(golden: Callable[[str, str], None]) -> None:
    log = Log()
    log.do("other weights, that never load", B)
    log.scene.behaves(log.scene.target, load_seconds=9999)
    log.watch(20)
    log.do("others, that do not load either", C)
    log.scene.behaves(log.scene.target, load_seconds=9999)
    log.watch(80)
    log.do("back to what serves", {"model": {}})
    log.watch(20)
    golden("abandoned.log", log.text())


def test_a_lost_queue_class_stops_what_is_new_and_nothing_that_serves(
    golden: Callable[[str, str], None],
) -> None:
    log = Log()
    log.do("the queue class is deleted", queue_class=None)
    log.watch(5)
    log.do("three replicas and other weights are asked for meanwhile", {**B, "replicas": 3})
    log.watch(5)
    log.do("the queue class is back", queue_class=queue_class({"objectives": OBJECTIVES}))
    log.watch(20)
    golden("lost-queue-class.log", log.text())
