import asyncio
from dataclasses import replace

from structlog.testing import capture_logs

from builders import model_deployment, observed
from pilothouse.api.modeldeploymentstatus import PreflightStatus
from pilothouse.control.preflights import Preflights
from pilothouse.names import REVISION
from pilothouse.plan.observed import Object, ObjectKey, Observed, key_of
from pilothouse.plan.plan import plan
from pilothouse.plan.preflight import Preflight
from virtual_time import now, run

KEY = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
SECONDS = 10


class Pods:
    """Pods that are examined in a fixed time, each with the result that the test gives it."""

    def __init__(self, at_a_time: int = 8) -> None:
        self.results: dict[str, PreflightStatus | Exception | None] = {}
        self.began: list[tuple[float, str]] = []
        self.cancelled: list[str] = []
        self.ended: list[ObjectKey] = []
        self.existing = {KEY}
        self.preflights = Preflights(
            self._examine, self.ended.append, lambda key: key in self.existing, at_a_time
        )

    async def _examine(self, pod: Object, _: Preflight) -> PreflightStatus | None:
        uid = pod["metadata"]["uid"]
        self.began.append((now(), uid))
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            self.cancelled.append(uid)
            raise
        result = self.results.get(uid, PreflightStatus(pod=uid))
        if isinstance(result, Exception):
            raise result
        return result


def pod(uid: str, *, ready: bool = True, of: str | None = None) -> Object:
    """A pod of the canary, unless another revision is named."""
    return {
        "metadata": {"uid": uid, "name": uid, "labels": {REVISION: of or CANARY}},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def _record() -> Object:
    """The frozen revision of the spec."""
    records = [each for each in plan(observed()).objects if each["kind"] == "ControllerRevision"]
    return records[0]


RECORD = _record()
CANARY = RECORD["metadata"]["name"].rpartition("-")[2]


def rolling(*pods: Object, preflight: tuple[str, ...] = (), **metadata: str) -> Observed:
    """A rollout under way whose canary has these pods; of some there is a result on record."""
    rollout = {"state": "Preflight", "preflight": [{"pod": uid} for uid in preflight]}
    deployment = model_deployment(status={"canary": {"revision": CANARY}, "rollout": rollout}, **metadata)
    return observed(deployment, children={key_of(RECORD): RECORD}, pods=pods)


def at_rest() -> Observed:
    return observed()


def test_a_ready_pod_is_examined_and_its_result_is_found_later() -> None:
    async def play() -> None:
        pods = Pods()
        assert pods.preflights(rolling(pod("p1"))) == {}
        await asyncio.sleep(SECONDS + 1)
        assert pods.ended == [KEY]
        assert set(pods.preflights(rolling(pod("p1")))) == {"p1"}

    run(play())


def test_a_pod_is_examined_once_however_often_it_is_seen() -> None:
    async def play() -> None:
        pods = Pods()
        for _ in range(3 * SECONDS):
            pods.preflights(rolling(pod("p1")))
            await asyncio.sleep(1)
        assert pods.began == [(0, "p1")]

    run(play())


def test_only_ready_pods_of_the_canary_are_examined() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1", ready=False), pod("p2", of="stable"), pod("p3")))
        await asyncio.sleep(1)
        assert [uid for _, uid in pods.began] == ["p3"]
        await pods.preflights.stop()

    run(play())


def test_a_pod_with_a_result_on_record_is_not_examined_again() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1"), preflight=("p1",)))
        await asyncio.sleep(1)
        assert pods.began == []

    run(play())


def test_a_pod_that_could_not_be_asked_is_examined_again() -> None:
    async def play() -> None:
        pods = Pods()
        pods.results["p1"] = None
        pods.preflights(rolling(pod("p1")))
        await asyncio.sleep(SECONDS + 1)
        assert pods.preflights(rolling(pod("p1"))) == {}
        await asyncio.sleep(1)
        assert pods.began == [(0, "p1"), (SECONDS + 1, "p1")]
        await pods.preflights.stop()

    run(play())


def test_a_defect_of_ours_is_logged_and_costs_the_pod_nothing() -> None:
    async def play() -> None:
        pods = Pods()
        pods.results["p1"] = RuntimeError("a defect")
        pods.preflights(rolling(pod("p1")))
        await asyncio.sleep(SECONDS + 1)
        pods.results.clear()
        assert pods.preflights(rolling(pod("p1"))) == {}
        await asyncio.sleep(SECONDS + 1)
        assert set(pods.preflights(rolling(pod("p1")))) == {"p1"}

    with capture_logs() as lines:
        run(play())
    assert [line["log_level"] for line in lines] == ["error"]


def test_a_pod_that_is_gone_is_examined_no_more() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1"), pod("p2")))
        await asyncio.sleep(1)
        pods.preflights(rolling(pod("p2")))
        await asyncio.sleep(SECONDS)
        assert pods.cancelled == ["p1"]
        assert set(pods.preflights(rolling(pod("p2")))) == {"p2"}

    run(play())


def test_a_pod_that_is_not_ready_for_a_while_is_examined_on() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1")))
        await asyncio.sleep(1)
        pods.preflights(rolling(pod("p1", ready=False)))
        await asyncio.sleep(SECONDS)
        assert set(pods.preflights(rolling(pod("p1")))) == {"p1"}
        assert len(pods.began) == 1

    run(play())


def test_when_the_rollout_is_over_its_examinations_are_too() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1")))
        await asyncio.sleep(1)
        assert pods.preflights(at_rest()) == {}
        await asyncio.sleep(1)
        assert pods.cancelled == ["p1"]

    run(play())


def test_examinations_of_a_deleted_model_end_at_the_next_look_at_any_other() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1")))
        await asyncio.sleep(1)
        pods.existing.clear()
        pods.preflights(replace(at_rest(), deployment=model_deployment(name="another")))
        await asyncio.sleep(1)
        assert pods.cancelled == ["p1"]

    run(play())


def test_no_more_run_at_once_than_allowed() -> None:
    async def play() -> None:
        pods = Pods(at_a_time=2)
        pods.preflights(rolling(pod("p1"), pod("p2"), pod("p3")))
        await asyncio.sleep(SECONDS * 3)
        assert sorted(time for time, _ in pods.began) == [0, 0, SECONDS]

    run(play())


def test_stopping_waits_for_all_to_end() -> None:
    async def play() -> None:
        pods = Pods()
        pods.preflights(rolling(pod("p1"), pod("p2")))
        await asyncio.sleep(1)
        await pods.preflights.stop()
        assert sorted(pods.cancelled) == ["p1", "p2"]
        assert pods.ended == []

    run(play())
