"""GPUs are promised once, whatever comes in between."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import COMMIT, NOW, OTHER_COMMIT, manifest, observed
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.names import Reason
from pilothouse.observe.store import Store
from pilothouse.plan.gpuroom import GpuNeed
from pilothouse.plan.gpus import Limits
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.plan import plan
from pilothouse.plan.types import Plan

AT_ONCE = RolloutPolicySpec.model_validate({"steps": [{"weight": 50}], "bake": "0s"})
LANES = {"completion": 1000, "synthesis": 10}
NONE = Limits(0, {"completion": 0})


def lane(name: str) -> Object:
    """A lane as the cluster has it."""
    spec = {
        "priority": LANES[name],
        "requests": {"maxInputTokens": 8192, "maxOutputTokens": 256, "timeout": "15s"},
        "concurrency": {"perReplica": 64, "queuedPerReplica": 32},
    }
    return {"kind": "QueueClass", "metadata": {"name": name}, "spec": spec}


def quota(total: int, name: str = "team-ide", **spec: Any) -> Object:
    """A TenantQuota of two namespaces."""
    declared = {"namespaces": ["team-ide", "team-lab"], "gpus": {"total": total}, **spec}
    return {"kind": "TenantQuota", "metadata": {"name": name, "uid": f"uid-{name}"}, "spec": declared}


def model(name: str, namespace: str = "team-ide", age: int = 0, **spec: Any) -> Object:
    """A ModelDeployment without a route."""
    created = (NOW + timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return manifest(
        {"route": None, **spec}, name=name, namespace=namespace, uid=f"uid-{name}", creationTimestamp=created
    )


@dataclass
class Cluster:
    """What there is, what the operator knows of it, and what it has not sent yet."""

    objects: dict[ObjectKey, Object] = field(default_factory=dict)
    version: int = 0
    store: Store = field(default_factory=Store)
    unsent: dict[ObjectKey, Iterator[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = GpuLedger(self.store)

    def put(self, obj: Object, *, seen: bool = True) -> None:
        """Write an object; the watch brings it now or later."""
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.objects[key_of(obj)] = {**obj, "metadata": metadata}
        if seen:
            self.deliver(key_of(obj))

    def drop(self, key: ObjectKey) -> None:
        """Delete an object, and see it go."""
        self.version += 1
        self.objects.pop(key, None)
        self.store.evict(key, self.version)

    def deliver(self, key: ObjectKey) -> None:
        """Let the watch bring an object as it is."""
        if key in self.objects:
            self.store.upsert(self.objects[key])

    def edit(self, key: ObjectKey, **spec: Any) -> None:
        """Change the spec of a ModelDeployment."""
        known = self.objects[key]
        self.put({**known, "spec": {**known["spec"], **spec}})

    def roll_out(self, key: ObjectKey, commit: str) -> None:
        """Ask for another checkpoint."""
        declared = self.objects[key]["spec"]["model"]
        self.edit(key, model={**declared, "checkpoint": {**declared["checkpoint"], "revision": commit}})

    def reconcile(self, key: ObjectKey) -> Plan:
        """Decide about a ModelDeployment and note what it takes; nothing is sent yet."""
        live = self.store.get(key)
        assert live
        deployment = ModelDeployment.parse(live)
        found = self.store.get(ObjectKey("QueueClass", "", deployment.spec.queue_class_name))
        decided = plan(
            observed(
                deployment,
                queue_class=QueueClass.parse(found or {}),
                policy=AT_ONCE,
                children=self.store.children(key, live["metadata"]["uid"]),
                room=self.ledger.room(key),
                now=NOW + timedelta(seconds=self.version),
            )
        )
        self.ledger.take(key, decided.gpus)
        self.unsent[key] = self._send(key, decided)
        return decided

    def most(self, key: ObjectKey) -> int:
        """The most GPUs that a ModelDeployment may have now, whatever the lane."""
        most = self.ledger.room(key).most
        assert most
        return most.total

    def send(self, key: ObjectKey) -> bool:
        """Send the next request of a reconcile; tell whether there was one."""
        return next(self.unsent.get(key, iter(())), "nothing") is None

    def _send(self, key: ObjectKey, decided: Plan) -> Iterator[None]:
        self.put({**self.objects[key], "status": decided.status})
        for obj in decided.objects:
            live = self.objects.get(key_of(obj), {})
            if {**live, **obj, "metadata": live.get("metadata")} != live:
                self.put({**live, **obj, "metadata": {**obj["metadata"], "generation": 1}})
            if obj["kind"] == "Deployment":
                yield
        for child in decided.prunes:
            self.drop(child)
            yield

    def follow(self, key: ObjectKey, *, seen: bool) -> None:
        """Let Kubernetes make a Deployment's pods."""
        live = self.objects.get(key)
        if live:
            count = live["spec"]["replicas"]
            status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), count)
            self.put({**live, "status": {**status, "observedGeneration": 1}}, seen=seen)

    def settle(self, *keys: ObjectKey) -> None:
        """Go on until nothing changes."""
        for _ in range(40):
            before = self.version
            for key in keys:
                self.reconcile(key)
                while self.send(key):
                    pass
            for key in self.deployments():
                self.follow(key, seen=True)
            if self.version - before <= len(keys) + len(self.deployments()):
                return

    def restart(self) -> None:
        """Another replica takes over: it knows what is there, and no promise."""
        self.store, self.unsent = Store(), {}
        for key in self.objects:
            self.deliver(key)
        self.ledger = GpuLedger(self.store)

    def deployments(self) -> list[ObjectKey]:
        """The Deployments that there are."""
        return [key for key in self.objects if key.kind == "Deployment"]

    def gpus(self, of_lane: str = "") -> int:
        """GPUs that the Deployments ask for."""
        return sum(
            obj["spec"]["replicas"] * int(_engine(obj)["resources"]["limits"].get("nvidia.com/gpu", 0))
            for obj in self.objects.values()
            if obj["kind"] == "Deployment"
            and of_lane in ("", obj["spec"]["template"]["metadata"]["labels"]["pilothouse.dev/queue-class"])
        )


def _engine(deployment: Object) -> Object:
    container: Object
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return container


def cluster(*objects: Object) -> Cluster:
    """A cluster with both lanes."""
    made = Cluster()
    for obj in (*map(lane, LANES), *objects):
        made.put(obj)
    return made


NAMES = [
    ObjectKey("ModelDeployment", ("team-ide", "team-lab")[number % 2], f"m{number}") for number in range(3)
]
HAPPENS = {"send": 4, "reconcile": 3, "hurry": 3, "scale": 1, "move": 1, "follow": 1, "restart": 0.2}
"""What happens, and how often: the danger lies between a decision and what is sent of it."""


def steps(made: Cluster, random: Random, count: int) -> Iterator[None]:
    """Do what may happen at any time, one thing after the other."""
    words = random.choices(list(HAPPENS), list(HAPPENS.values()), k=count)
    for word in words:
        happens(made, word, random)
        yield


def happens(made: Cluster, word: str, random: Random) -> None:
    """Do one thing, to somebody; a reconcile begins when all of the one before is sent."""
    key, spec = random.choice(NAMES), {"replicas": random.randint(0, 5)}
    match word:
        case "send":
            made.send(key)
        case "reconcile" if not made.send(key):
            made.reconcile(key)
        case "hurry" if not made.send(key):
            made.reconcile(key)
            made.edit(key, **spec)
        case "scale":
            made.edit(key, **spec)
            made.roll_out(key, random.choice([COMMIT, OTHER_COMMIT]))
        case "move":
            made.edit(key, queueClassName=random.choice(list(LANES)))
        case "follow":
            for deployment in made.deployments():
                made.follow(deployment, seen=random.random() < 0.5)
        case "restart":
            made.restart()


def contended(gpus: dict[str, Any]) -> Cluster:
    """Three models of two namespaces and two lanes, with pods of one and two GPUs."""
    models = [
        model(
            key.name,
            key.namespace,
            number,
            queueClassName=["completion", "synthesis"][number % 2],
            resources={"gpu": {"count": 1 + number // 2}},
            rollout={"capacity": ["Auto", "Surge", "InPlace"][number % 3]},
        )
        for number, key in enumerate(NAMES)
    ]
    return cluster(quota(0, gpus=gpus), *models)


@settings(max_examples=60)
@given(st.randoms(use_true_random=True), st.integers(1, 6), st.integers(0, 6), st.integers(0, 6))
def test_no_order_of_things_lets_the_deployments_ask_for_more_than_the_limits(
    random: Random, total: int, completion: int, synthesis: int
) -> None:
    lanes = {"completion": min(total, completion), "synthesis": min(total, synthesis)}
    made = contended({"total": total, "perQueueClass": lanes})
    for _ in steps(made, random, 80):
        assert made.gpus() <= total
        assert {name: made.gpus(name) for name in lanes if made.gpus(name) > lanes[name]} == {}


@settings(max_examples=30)
@given(st.randoms(use_true_random=True))
def test_whatever_happened_all_that_fits_is_admitted_in_the_end(random: Random) -> None:
    made = contended({"total": 60})
    list(steps(made, random, 40))
    made.settle(*NAMES)

    for key in NAMES:
        asked = [
            made.objects[each]["spec"]["replicas"]
            for each in made.deployments()
            if made.objects[each]["metadata"]["labels"]["pilothouse.dev/deployment"] == key.name
        ]
        assert sum(asked) >= made.objects[key]["spec"]["replicas"]


def test_two_hundred_that_come_at_once_get_what_there_is_and_no_more() -> None:
    models = [model(f"m{number:03}", age=number, replicas=1) for number in range(200)]
    made = cluster(quota(16), *models)
    keys = [key_of(obj) for obj in models]
    for key in reversed(keys):
        made.reconcile(key)
    assert made.gpus() == 0
    for key in keys:
        while made.send(key):
            pass

    assert made.gpus() == 16


def test_a_promise_holds_until_it_is_kept_though_less_is_asked_for_meanwhile() -> None:
    hasty, other = model("hasty", replicas=4), model("other", age=60, replicas=4)
    made = cluster(quota(4), hasty, other)
    made.reconcile(key_of(hasty))
    made.edit(key_of(hasty), replicas=0)
    made.reconcile(key_of(other))
    for key in (key_of(hasty), key_of(other)):
        while made.send(key):
            pass

    assert made.gpus() == 4


def test_the_older_one_gets_the_gpus_though_the_younger_is_looked_at_first() -> None:
    old, young = model("old", replicas=2), model("young", age=60, replicas=2)
    made = cluster(quota(2), old, young)

    assert made.reconcile(key_of(young)).gpus.reserved.total == 0
    assert made.reconcile(key_of(old)).gpus.reserved.total == 2


def test_a_rollout_keeps_the_gpus_of_its_way_when_another_replica_takes_over() -> None:
    rolls, urgent = model("rolls", replicas=2, queueClassName="synthesis"), model("urgent", replicas=2)
    made = cluster(quota(4), rolls)
    made.settle(key_of(rolls))
    made.roll_out(key_of(rolls), OTHER_COMMIT)
    while made.reconcile(key_of(rolls)).gpus.reserved.total < 4:
        made.send(key_of(rolls))
    made.send(key_of(rolls))
    made.put(urgent)
    made.restart()

    assert made.most(key_of(urgent)) == 0
    assert made.most(key_of(rolls)) == 4


def test_a_lane_that_gets_another_priority_changes_the_order() -> None:
    low, high = model("low", replicas=2, queueClassName="synthesis"), model("high", age=60, replicas=2)
    made = cluster(quota(2), low, high)
    assert made.most(key_of(high)) == 2

    urgent = lane("synthesis")
    made.put({**urgent, "spec": {**urgent["spec"], "priority": 5000}})
    assert made.most(key_of(high)) == 0
    assert made.most(key_of(low)) == 2


def test_what_is_given_back_goes_to_the_first_that_waits_and_the_quota_is_looked_at() -> None:
    told: list[ObjectKey] = []
    first, second = model("first", replicas=2), model("second", age=60, replicas=1)
    made = cluster(quota(2), first, second)
    made.ledger = GpuLedger(made.store, told.append)
    made.settle(key_of(first), key_of(second))
    assert made.gpus() == 2
    told.clear()

    made.edit(key_of(first), replicas=1)
    made.settle(key_of(first), key_of(second))
    assert told[0] == ObjectKey("TenantQuota", "", "team-ide")
    assert made.ledger.room(key_of(second)).held.total == 1


def test_pods_that_drain_and_pods_of_others_count() -> None:
    behind: Object = {
        "kind": "ResourceQuota",
        "metadata": {
            "name": "pilothouse-team-ide",
            "namespace": "team-ide",
            "ownerReferences": [
                {"kind": "TenantQuota", "name": "team-ide", "uid": "uid-team-ide", "controller": True}
            ],
            "labels": {"app.kubernetes.io/managed-by": "pilothouse"},
        },
        "status": {"used": {"requests.nvidia.com/gpu": "3"}},
    }
    made = cluster(quota(4), behind, model("qwen", replicas=2))

    assert made.most(ObjectKey("ModelDeployment", "team-ide", "qwen")) == 1


def lanes_of(made: Cluster) -> dict[str, int]:
    """GPUs that the Deployments ask for, by lane."""
    return {name: made.gpus(name) for name in LANES}


def test_one_that_never_served_takes_no_gpus_into_a_full_lane_and_leaves_its_own_to_others() -> None:
    here, comes = model("here", replicas=2), model("comes", replicas=2, queueClassName="synthesis")
    made = cluster(quota(4, gpus={"total": 4, "perQueueClass": {"completion": 2}}), here, comes)
    for key in (key_of(here), key_of(comes)):
        made.reconcile(key)
        while made.send(key):
            pass
    made.edit(key_of(comes), queueClassName="completion")
    other = model("other", age=60, replicas=2, queueClassName="synthesis")
    made.put(other)
    made.settle(key_of(comes), key_of(other))
    assert lanes_of(made) == {"completion": 2, "synthesis": 2}

    made.edit(key_of(here), replicas=0)
    made.edit(key_of(other), replicas=0)
    made.settle(key_of(here), key_of(other), key_of(comes))
    assert lanes_of(made) == {"completion": 2, "synthesis": 0}


def test_what_serves_in_a_lane_counts_there_as_long_as_it_waits_for_another() -> None:
    here, comes = model("here", replicas=2), model("comes", replicas=2, queueClassName="synthesis")
    limits = {"total": 8, "perQueueClass": {"completion": 2, "synthesis": 2}}
    made = cluster(quota(8, gpus=limits), here, comes)
    made.settle(key_of(here), key_of(comes))
    made.edit(key_of(comes), queueClassName="completion")
    late = model("late", age=60, replicas=1, queueClassName="synthesis")
    made.put(late)
    made.settle(key_of(comes), key_of(late))

    assert lanes_of(made) == {"completion": 2, "synthesis": 2}


def test_two_that_wait_for_a_lane_with_room_for_one_do_not_keep_each_other_out() -> None:
    both = [model(name, age=age, replicas=2) for age, name in enumerate(("first", "second"))]
    made = cluster(quota(16, gpus={"total": 16, "perQueueClass": {"synthesis": 2}}), *both)
    keys = [key_of(obj) for obj in both]
    made.settle(*keys)
    for key in keys:
        made.edit(key, queueClassName="synthesis")
    for _ in ("queued", "begun"):
        made.settle(*keys)

    assert made.gpus("synthesis") == 2


def test_a_namespace_that_two_quotas_name_gets_nothing_new() -> None:
    made = cluster(quota(8), quota(8, "other"), model("qwen", replicas=2))
    room = made.ledger.room(ObjectKey("ModelDeployment", "team-ide", "qwen"))

    assert (room.most, room.closed and room.closed.reason) == (NONE, Reason.QUOTA_CONFLICT)
    assert "other, team-ide" in (room.closed.message if room.closed else "")


def test_a_quota_that_can_not_be_read_admits_nothing_new() -> None:
    made = cluster(quota(8, gpus={"total": "many"}), model("qwen", replicas=2))
    room = made.ledger.room(ObjectKey("ModelDeployment", "team-ide", "qwen"))

    assert (room.most, room.closed and room.closed.reason) == (NONE, Reason.QUOTA_UNREADABLE)


def test_without_a_quota_all_is_admitted_unless_one_is_demanded() -> None:
    made = cluster(model("qwen", replicas=2))
    key = ObjectKey("ModelDeployment", "team-ide", "qwen")

    assert made.ledger.room(key).most is None
    demanding = GpuLedger(made.store, demands_quota=True).room(key)
    assert (demanding.most, demanding.closed and demanding.closed.reason) == (NONE, Reason.QUOTA_MISSING)


def test_kueue_takes_over_where_the_quota_names_its_queue() -> None:
    made = cluster(quota(1, queueName="gpus"), model("qwen", replicas=2))
    room = made.ledger.room(ObjectKey("ModelDeployment", "team-ide", "qwen"))

    assert (room.most, room.queue_name) == (None, "gpus")


def test_one_that_can_not_be_carried_out_holds_up_nobody() -> None:
    broken, other = model("broken", replicas=4), model("other", age=60, replicas=1)
    made = cluster(quota(4), broken, other)
    assert made.most(key_of(other)) == 0

    made.ledger.take(key_of(broken), GpuNeed())
    assert made.most(key_of(other)) == 4


def test_who_lost_the_lease_and_holds_it_again_counts_from_the_deployments() -> None:
    first, second = model("first", replicas=2), model("second", age=60, replicas=2)
    made = cluster(quota(2), first, second)
    made.reconcile(key_of(first))
    made.edit(key_of(first), replicas=0)
    made.ledger.clear()

    assert made.most(key_of(second)) == 2


def test_one_that_is_gone_gives_back_what_it_was_promised() -> None:
    gone, other = model("gone", replicas=4), model("other", age=60, replicas=1)
    made = cluster(quota(4), gone, other)
    made.reconcile(key_of(gone))
    made.drop(key_of(gone))
    made.ledger.forget(key_of(gone))

    assert made.most(key_of(other)) == 4
