"""What was decided: who runs, with how many pods, and who gets which share of the traffic."""

import pytest

from pilothouse.plan.capacity import Size
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout


def revision(name: str) -> Revision:
    """A revision of this name."""
    return Revision(name, 1, {}, {}, Lifecycle(startup=1, drain=1))


OLD, NEW, GONE = revision("a"), revision("b"), revision("c")


def test_each_revision_runs_once_whatever_its_parts() -> None:
    assert Rollout(OLD, OLD, former=(OLD,)).running == [OLD]
    assert Rollout(OLD, NEW, NEW, (NEW, GONE)).running == [OLD, NEW, GONE]


def test_a_target_that_is_not_tried_does_not_run() -> None:
    assert Rollout(OLD, NEW).running == [OLD]


@pytest.mark.parametrize("stable", [None, OLD])
def test_without_a_canary_only_stable_has_weight(stable: Revision | None) -> None:
    assert Rollout(stable, NEW).weights == ({"a": 100} if stable else {})


@pytest.mark.parametrize("weight", [0, 7, 100])
def test_the_weights_of_both_sides_are_the_whole_traffic(weight: int) -> None:
    assert Rollout(OLD, NEW, NEW, weight=weight).weights == {"a": 100 - weight, "b": weight}


@pytest.mark.parametrize(("weight", "serving"), [(0, OLD), (50, OLD), (99, OLD), (100, NEW)])
def test_callers_whom_no_route_weighs_change_over_when_all_others_have(
    weight: int, serving: Revision
) -> None:
    assert Rollout(OLD, NEW, NEW, weight=weight).serving == serving


def test_sizes_are_those_of_the_rollout_while_there_is_a_canary() -> None:
    rollout = Rollout(OLD, NEW, NEW, (GONE,), size=Size(canary=1, stable=3))

    assert [rollout.replicas_of(part, 4) for part in (NEW, OLD, GONE)] == [1, 3, 4]
    assert Rollout(OLD, OLD).replicas_of(OLD, 4) == 4


def test_a_rollout_is_under_way_while_something_else_is_asked_for_than_serves() -> None:
    assert Rollout(OLD, NEW).under_way
    assert not Rollout(OLD, OLD).under_way
    assert not Rollout(OLD, None).under_way
