"""Any history of edits, commands and failures: what must hold after every single look at it.

A failure shows the history that led to it as it was drawn: to shrink one takes minutes.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from builders import condition, queue_class
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.api.modeldeploymentstatus import ModelDeploymentStatus
from pilothouse.names import COMMAND, REVISION, Verb
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.plan import plan
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.serving import asked_replicas, ready_replicas
from pilothouse.plan.types import Plan
from rollout_scene import OBJECTIVES, Behaviour, Scene, policy, scene

LANE = queue_class({"objectives": OBJECTIVES})
ROUTE = {"parentRefs": [{"name": "models", "namespace": "gateways"}], "pathPrefix": "/team-ide/qwen-coder"}
UNSETTLED = {"Fail", "Inconclusive", "Error"}
COMMITS = st.sampled_from("abc")
BAD = st.sampled_from(
    [
        Behaviour(slow=0.3),
        Behaviour(errors=0.05),
        Behaviour(errors=0.5),
        Behaviour(load_seconds=15),
        Behaviour(load_seconds=9999),
        Behaviour(readable=False),
        Behaviour(healthy=False),
        Behaviour(preflight="PreflightFailed"),
        Behaviour(examined=False),
    ]
)


class Rollouts(RuleBasedStateMachine):
    """Draws histories; each look is checked by `Watch`."""

    scene: Scene
    watch: "Watch"

    @initialize(
        replicas=st.sampled_from([1, 2, 3, 8]),
        capacity=st.sampled_from(["Auto", "Surge", "InPlace"]),
        rate=st.sampled_from([10.0, 100.0, 2000.0]),
        looks=st.sampled_from([30, 6, 60, 0]),
    )
    def begin(self, replicas: int, capacity: str, rate: float, looks: int) -> None:
        self.scene = scene(replicas, {"rollout": {"capacity": capacity}})
        self.scene.rate = rate
        self.watch = Watch(self.scene)
        self.edit("a")
        self.watch.look(looks)

    @rule(looks=st.integers(1, 25))
    def time_passes(self, looks: int) -> None:
        self.watch.look(looks)

    @rule()
    def the_rollout_turns(self) -> None:
        before = (self.scene.state, self.scene.weight)
        for _ in range(40):
            self.watch.look()
            if before != (self.scene.state, self.scene.weight):
                return

    @rule(seconds=st.sampled_from([20.0, 90.0]))
    def nobody_looks(self, seconds: float) -> None:
        self.watch.look(1, seconds)

    @rule(commit=COMMITS)
    def edit(self, commit: str) -> None:
        self.scene.edit({"model": {"checkpoint": {"revision": commit * 40}}})
        self.watch.look()

    @rule()
    def edit_back(self) -> None:
        pins = self.scene.seen.deployment.status.stable
        if pins:
            self.scene.edit({"model": {"checkpoint": {"revision": pins.checkpoint_revision}}})
        self.watch.look()

    @rule(verb=st.sampled_from(Verb), mine=st.booleans(), note=st.sampled_from(["", "/1", "/2"]))
    def command(self, verb: Verb, *, mine: bool, note: str) -> None:
        revision = self.scene.canary or self.target()
        self.scene.say(f"{verb}/{revision if mine else '0123456789'}{note}")
        self.watch.look()
        if mine and verb is Verb.ABORT and self.watch.could_go_back:
            assert self.scene.canary is None

    @rule(paused=st.booleans())
    def hold(self, *, paused: bool) -> None:
        self.scene.edit({"rollout": {**self.scene.spec["rollout"], "paused": paused}})
        self.watch.look()

    @rule(replicas=st.sampled_from([0, 1, 2, 3, 8]))
    def scale(self, replicas: int) -> None:
        self.scene.edit({"replicas": replicas})
        self.watch.look()

    @rule(behaviour=BAD, looks=st.integers(1, 20))
    def canary_turns_bad(self, behaviour: Behaviour, looks: int) -> None:
        self.scene.behaviours[self.scene.canary or self.target()] = behaviour
        self.watch.look(looks)

    @rule(behaviour=BAD, looks=st.integers(1, 20))
    def stable_turns_bad(self, behaviour: Behaviour, looks: int) -> None:
        if "stable" in self.scene.status:
            self.scene.behaviours[self.scene.stable] = behaviour
        self.watch.look(looks)

    @rule()
    def all_turn_good(self) -> None:
        self.scene.behaviours.clear()
        self.watch.look()

    @rule(room=st.sampled_from([None, 0, 1, 2, 3, 4, 8, 9]))
    def room_changes(self, room: int | None) -> None:
        self.scene.room = room
        self.watch.look()

    @rule(lost=st.booleans())
    def lane_vanishes(self, *, lost: bool) -> None:
        self.scene.change(queue_class=None if lost else LANE)
        self.watch.look()

    @rule(lost=st.booleans())
    def policy_vanishes(self, *, lost: bool) -> None:
        self.scene.change(policy=None if lost else policy())
        self.watch.look()

    @rule(denied=st.booleans(), drains=st.booleans())
    def license_is_judged(self, *, denied: bool, drains: bool) -> None:
        self.scene.change(license_policies=licenses(denied=denied, drains=drains))
        self.watch.look()

    @rule(answers=st.booleans())
    def gateway_falls_silent(self, *, answers: bool) -> None:
        self.scene.gateway_answers = answers
        self.watch.look()

    @rule(routed=st.booleans())
    def route_is_removed(self, *, routed: bool) -> None:
        self.scene.edit({"route": ROUTE if routed else None})
        self.watch.look()

    @rule(part=st.sampled_from(["", "stable", "canary", "rollout", "conditions", "history"]))
    def status_is_lost(self, part: str) -> None:
        blank = ModelDeploymentStatus()
        before = self.scene.seen.deployment.status
        after = before.model_copy(update={part: getattr(blank, part)}) if part else blank
        lost = self.scene.seen.deployment.model_copy(update={"status": after})
        self.scene.change(deployment=lost)
        if not lost.status.stable and not self.scene.seen.children_of_kind("ControllerRevision"):
            self.watch.forget()
        self.watch.look()

    @rule()
    def nothing_changes(self) -> None:
        self.watch.settle()

    def target(self) -> str:
        """The revision that the spec asks for."""
        return self.scene.target if self.scene.seen.queue_class else "0123456789"

    def teardown(self) -> None:
        """Whatever happened: a good revision in a good cluster ends up as stable."""
        scene = self.scene
        scene.behaviours.clear()
        scene.room, scene.gateway_answers, scene.rate = None, True, 2000.0
        scene.change(queue_class=LANE, policy=policy(), license_policies=licenses(denied=False))
        scene.edit(
            {
                "model": {"checkpoint": {"revision": "f" * 40}},
                "replicas": 2,
                "rollout": {"capacity": "Auto"},
                "route": ROUTE,
            }
        )
        for _ in range(400):
            self.watch.look()
            if scene.stable == scene.target and scene.status["phase"] == "Ready":
                return
        raise AssertionError(f"does not converge: {scene.state} {scene.status}")


class Watch:
    """Lets a scene be looked at, and holds each plan against what is always true."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.rejected: set[str] = set()

    def forget(self) -> None:
        """The status was lost where nothing runs, and with it what was rejected."""
        self.rejected = set()

    def look(self, times: int = 1, seconds: float | None = None) -> None:
        """Look, plan and carry out."""
        for _ in range(times):
            after = self.scene.step(seconds)
            self._check(Look(self.scene.before, after))

    def settle(self) -> None:
        """Look again and again in the same moment: soon nothing new is planned."""
        for _ in range(80):
            last = self.scene.plan
            self.look(seconds=0)
            assert plan(self.scene.before) == self.scene.plan
            if said(last) == said(self.scene.plan):
                return
        raise AssertionError("nothing changes, and yet the plan never rests")

    @property
    def could_go_back(self) -> bool:
        """Whether stable had a ready pod when it was last looked at."""
        seen = self.scene.before
        stable = seen.deployment.status.stable
        return bool(stable and ready_replicas(seen, stable.revision))

    def _check(self, look: "Look") -> None:
        for holds in ALWAYS:
            assert holds(look), (holds.__name__, look.weights, look.after.status)
        self.rejected -= {look.retried}
        assert look.canary not in self.rejected
        rejected = {entry["revision"] for entry in look.after.status["rejectedRevisions"]}
        assert self.rejected <= rejected, "a rejection was forgotten"
        self.rejected = rejected


def said(after: Plan) -> object:
    """All of a plan but when to look again."""
    return after.objects, after.prunes, after.status, after.events


class Look:
    """One plan beside what it was made from."""

    def __init__(self, seen: Observed, after: Plan) -> None:
        self.seen = seen
        self.after = after
        self.wanted = seen.deployment.spec.replicas
        self.allowed = all(each and each.rules for each in seen.license_policies.values())
        self.drained = any(
            each and not each.rules and each.on_violation == "Drain"
            for each in seen.license_policies.values()
        )
        before, status = seen.deployment.status, after.status
        self.stable = (status.get("stable") or {}).get("revision")
        self.canary = (status.get("canary") or {}).get("revision")
        self.canary_before = before.canary.revision if before.canary else None
        self.weight = (((status.get("canary") or {}).get("weight")) or {}).get("desired", 0)
        self.weight_before = before.canary.weight.desired if before.canary and before.canary.weight else 0
        self.rollout = status.get("rollout") or {}

    @property
    def weights(self) -> list[dict[str, int]]:
        """Weights of each rule of the planned route."""
        return [
            {ref["name"].rpartition("-")[2]: ref["weight"] for ref in each["backendRefs"]}
            for route in self.planned("HTTPRoute")
            for each in route["spec"]["rules"]
        ]

    @property
    def retried(self) -> str:
        """The revision of which a person has just said retry."""
        said = self.seen.deployment.metadata.annotations.get(COMMAND, "")
        is_new = said != self.seen.deployment.status.last_command
        return said.split("/")[1] if said.startswith("retry/") and is_new else ""

    @property
    def is_in_place(self) -> bool:
        """Whether the canary takes its GPUs from stable; at the very beginning the spec alone knows."""
        strategies = {self.rollout.get("capacity"), self.seen.deployment.spec.rollout.capacity}
        return bool(self.canary) and "InPlace" in strategies

    def planned(self, kind: str) -> list[Object]:
        """Planned objects of this kind."""
        return [obj for obj in self.after.objects if obj["kind"] == kind]

    def pods(self, revision: str | None) -> int:
        """Pods that the plan asks for."""
        for obj in self.planned("Deployment"):
            if obj["metadata"]["labels"][REVISION] == revision:
                return int(obj["spec"]["replicas"])
        return 0

    def ready(self, revision: str | None) -> int:
        """Pods that were ready."""
        return ready_replicas(self.seen, revision or "")

    def live(self, revision: str | None) -> int:
        """Pods that were asked for."""
        return asked_replicas(self.seen, revision or "")


def weights_are_those_of_the_status(look: Look) -> bool:
    desired = {look.stable: 100 - look.weight, look.canary: look.weight}
    shown = {revision: weight for revision, weight in desired.items() if weight}
    return all(weights == shown and sum(weights.values()) == 100 for weights in look.weights)


def weight_rises_only_when_nothing_is_open(look: Look) -> bool:
    rises = look.canary == look.canary_before and look.weight > look.weight_before > 0
    by_hand = look.rollout.get("waived") or not look.ready(look.stable)
    verdicts = {check["verdict"] for check in look.rollout.get("checks", [])}
    return not (rises and verdicts & UNSETTLED and not by_hand)


def weight_rises_only_when_every_pod_was_tested(look: Look) -> bool:
    rises = look.canary == look.canary_before and look.weight > look.weight_before
    tested = {entry["pod"] for entry in look.rollout.get("preflight", [])}
    pods = {pod["metadata"]["uid"] for pod in pods_of(look.seen.pods, look.canary or "") if is_ready(pod)}
    return not rises or pods <= tested


def a_rollback_moves_traffic_before_pods(look: Look) -> bool:
    kinds = [obj["kind"] for obj in look.after.objects]
    falls = look.weight_before and (look.canary != look.canary_before or look.weight < look.weight_before)
    if not falls or "HTTPRoute" not in kinds or look.stable == look.canary_before:
        return True
    return kinds.index("HTTPRoute") < kinds.index("Deployment")


def stable_keeps_the_pods_that_its_weight_needs(look: Look) -> bool:
    if not look.stable or not look.allowed:
        return True
    lower = min(look.weight, look.weight_before)
    needed = max(0, (99 - lower) * look.wanted // 100) if look.is_in_place else look.wanted
    return look.pods(look.stable) >= needed


def in_place_asks_for_no_more_pods(look: Look) -> bool:
    if not look.is_in_place or look.live(look.canary) == 0:
        return True
    live = look.live(look.canary) + look.live(look.stable)
    return look.pods(look.canary) + look.pods(look.stable) <= max(look.wanted, live)


def a_rejected_revision_is_no_canary(look: Look) -> bool:
    return look.canary not in {entry["revision"] for entry in look.after.status["rejectedRevisions"]}


def what_is_not_ready_says_why(look: Look) -> bool:
    ready, reconciling, stalled = (
        condition(look.after, kind) for kind in ("Ready", "Reconciling", "Stalled")
    )
    if ready["status"] == "True":
        return True
    one = {reconciling["status"], stalled["status"]} == {"True", "False"}
    return one and bool(ready["reason"]) and bool(ready["message"])


def a_rollout_says_what_it_waits_for_and_is_looked_at_soon(look: Look) -> bool:
    if not look.rollout:
        return True
    wait = look.after.requeue_after
    return bool(look.rollout["reason"] and look.rollout["message"] and wait and wait.total_seconds() <= 3)


def no_canary_without_pods_has_traffic(look: Look) -> bool:
    return not (look.canary and look.weight and not look.ready(look.canary) and look.ready(look.stable))


def nobody_who_may_get_requests_loses_the_pods(look: Look) -> bool:
    route = look.seen.child("HTTPRoute", "qwen-coder")
    backends = {ref["name"] for ref in route["spec"]["rules"][0]["backendRefs"]} if route else set()
    live = {obj["metadata"]["name"] for obj in look.seen.children_of_kind("Deployment")}
    planned = {obj["metadata"]["name"] for obj in look.planned("Deployment")}
    return look.drained or backends & live <= planned


def who_serves_is_never_unknown(look: Look) -> bool:
    return look.drained or bool(look.stable) or not look.seen.children_of_kind("Deployment")


ALWAYS = (
    weights_are_those_of_the_status,
    weight_rises_only_when_nothing_is_open,
    weight_rises_only_when_every_pod_was_tested,
    a_rollback_moves_traffic_before_pods,
    stable_keeps_the_pods_that_its_weight_needs,
    in_place_asks_for_no_more_pods,
    a_rejected_revision_is_no_canary,
    what_is_not_ready_says_why,
    a_rollout_says_what_it_waits_for_and_is_looked_at_soon,
    no_canary_without_pods_has_traffic,
    nobody_who_may_get_requests_loses_the_pods,
    who_serves_is_never_unknown,
)


def licenses(*, denied: bool, drains: bool = False) -> dict[str, LicensePolicySpec]:
    """A LicensePolicy that denies every license, or names the model's own."""
    rules = [] if denied else [{"ids": ["Apache-2.0"], "decision": "Allow"}]
    spec = {"default": "Deny", "rules": rules, "onViolation": "Drain" if drains else "Report"}
    return {"strict": LicensePolicySpec.model_validate(spec)}


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
