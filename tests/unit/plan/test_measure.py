"""Reading, counting and judging, joined."""

from builders import OTHER_COMMIT, queue_class
from rollout_scene import OBJECTIVES, Scene, scene

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def test_evidence_of_another_objective_does_not_count() -> None:
    started = scene(4)
    started.rate = 400
    started.edit(NEW_WEIGHTS).reach(lambda seen: _samples(seen) > 100)
    stricter = [*OBJECTIVES[:1], {"metric": "Success", "ratio": 0.999}]

    started.change(queue_class=queue_class({"objectives": stricter})).step()

    assert _samples(started) < 50


def _samples(seen: Scene) -> int:
    checks = (seen.status.get("rollout") or {}).get("checks", [])
    return int(next((check["samples"] for check in checks if check["name"] == "success"), 0))
