"""How many pods each side of a rollout gets. Ids such as C1 are acceptance scenarios."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pilothouse.api.modeldeployment import Capacity
from pilothouse.names import Reason
from pilothouse.plan.capacity import (
    COMPARABLE_WEIGHT,
    Size,
    Sizing,
    Strategy,
    comparable,
    refusal_in_place,
    strategy_of,
)
from pilothouse.plan.cause import Cause

SURGE, IN_PLACE = Strategy.SURGE, Strategy.IN_PLACE
BUILT_IN_WEIGHTS = (5, 25, 50)

weights = st.integers(0, 100)
step_weights = st.integers(1, 100)
replicas = st.sampled_from([1, 2, 3, 8, 100]) | st.integers(1, 1000)
several = st.sampled_from([2, 3, 8, 100]) | st.integers(2, 1000)
counts = st.integers(0, 120)
sizes = st.builds(Size, counts, counts)


def lack(reason: Reason) -> Cause:
    return Cause(reason, "0/3 nodes are available")


def follow(sizing: Sizing, step: int, live: Size, weight: int = 0) -> Iterator[tuple[Size, int]]:
    """Sizes and weights tick by tick, every pod that is asked for being ready at the next tick."""
    while True:
        weight = min(sizing.attainable(step), sizing.weight_cap(live))
        after = sizing.next_size(step, weight, live, ready=live)
        if after == live:
            return
        live = after
        yield live, weight


def end_of(sizing: Sizing, step: int, live: Size) -> Size:
    *_, (last, _) = [(live, 0), *follow(sizing, step, live)]
    return last


# Strategy


@pytest.mark.parametrize("reason", [Reason.INSUFFICIENT_GPU, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED])
def test_auto_goes_over_to_in_place_when_there_is_no_room(reason: Reason) -> None:
    assert strategy_of(Capacity.AUTO, "", 3, None) is SURGE
    assert strategy_of(Capacity.AUTO, "Surge", 3, lack(reason)) is IN_PLACE


def test_auto_never_goes_back_to_surge() -> None:
    assert strategy_of(Capacity.AUTO, "InPlace", 3, None) is IN_PLACE


def test_a_model_that_does_not_load_is_no_lack_of_room() -> None:
    assert strategy_of(Capacity.AUTO, "", 3, lack(Reason.MODEL_LOAD_FAILED)) is SURGE


@pytest.mark.parametrize("remembered", ["", "Surge", "InPlace"])
def test_c2_one_replica_never_gives_its_gpu_away(remembered: str) -> None:
    for declared in Capacity:
        assert strategy_of(declared, remembered, 1, lack(Reason.INSUFFICIENT_GPU)) is SURGE


@pytest.mark.parametrize("remembered", ["", "Surge", "InPlace"])
def test_a_declared_strategy_is_obeyed(remembered: str) -> None:
    assert strategy_of(Capacity.SURGE, remembered, 3, lack(Reason.INSUFFICIENT_GPU)) is SURGE
    assert strategy_of(Capacity.IN_PLACE, remembered, 3, None) is IN_PLACE


def test_c2_in_place_with_one_replica_is_refused_with_what_it_needs() -> None:
    refusal = refusal_in_place(Capacity.IN_PLACE, 1)

    assert refusal
    assert refusal.reason is Reason.INSUFFICIENT_GPU
    assert "at least 2 replicas" in refusal.message


def test_in_place_with_two_replicas_and_other_capacities_are_not_refused() -> None:
    assert refusal_in_place(Capacity.IN_PLACE, 2) is None
    assert refusal_in_place(Capacity.AUTO, 1) is None
    assert refusal_in_place(Capacity.SURGE, 1) is None


# Surge


@pytest.mark.parametrize(
    ("count", "sizes_at_steps"),
    [
        (1, [(1, 1), (1, 1), (1, 1), (1, 1)]),
        (2, [(1, 2), (1, 2), (2, 2), (2, 2)]),
        (3, [(1, 3), (1, 3), (3, 3), (3, 3)]),
        (8, [(1, 8), (3, 8), (8, 8), (8, 8)]),
        (100, [(6, 100), (34, 100), (100, 100), (100, 100)]),
    ],
)
def test_surge_adds_pods_for_the_same_load_per_replica(
    count: int, sizes_at_steps: list[tuple[int, int]]
) -> None:
    targets = [Sizing(SURGE, count).target(weight) for weight in (*BUILT_IN_WEIGHTS, 100)]

    assert targets == [Size(*size) for size in sizes_at_steps]


@given(replicas, weights, weights, sizes, sizes)
def test_c4_surge_leaves_stable_whole(count: int, step: int, weight: int, live: Size, ready: Size) -> None:
    """So the undo needs no model load (C7: nor a scale-up before the traffic returns)."""
    assert Sizing(SURGE, count).next_size(step, weight, live, ready).stable == count


@given(replicas, step_weights)
def test_every_step_of_a_surge_is_attained(count: int, step: int) -> None:
    assert Sizing(SURGE, count).attainable(step) == step


# In place


@pytest.mark.parametrize(
    ("count", "sizes_at_steps"),
    [
        (2, [(1, 1), (1, 1), (1, 1), (1, 1)]),
        (3, [(1, 2), (1, 2), (1, 2), (2, 1)]),
        (8, [(1, 7), (2, 6), (4, 4), (7, 1)]),
        (100, [(5, 95), (25, 75), (50, 50), (99, 1)]),
    ],
)
def test_in_place_shares_the_pods_by_the_weight(count: int, sizes_at_steps: list[tuple[int, int]]) -> None:
    targets = [Sizing(IN_PLACE, count).target(weight) for weight in (*BUILT_IN_WEIGHTS, 100)]

    assert targets == [Size(*size) for size in sizes_at_steps]


def test_c1_pods_are_swapped_one_at_a_time() -> None:
    way = [size for size, _ in follow(Sizing(IN_PLACE, 8), 50, Size(0, 8))]

    assert way == [Size(1, 7), Size(2, 6), Size(3, 5), Size(4, 4)]


def test_a_swap_waits_for_the_traffic_of_the_last_one() -> None:
    sizing, live = Sizing(IN_PLACE, 8), Size(1, 7)

    assert sizing.next_size(25, weight=5, live=live, ready=live) == live
    assert sizing.next_size(25, weight=12, live=live, ready=live) == Size(2, 6)


def test_a_step_that_would_halve_a_pod_is_held_below_its_weight() -> None:
    sizing = Sizing(IN_PLACE, 3)

    assert sizing.target(50) == Size(1, 2)
    assert sizing.attainable(50) == 33


@given(several, step_weights, sizes, st.data())
def test_c1_in_place_never_asks_for_more_than_the_replicas(
    count: int, step: int, live: Size, data: st.DataObject
) -> None:
    ready = Size(data.draw(st.integers(0, live.canary)), data.draw(st.integers(0, live.stable)))
    size = Sizing(IN_PLACE, count).next_size(step, data.draw(weights), live, ready)

    assert size.canary + size.stable <= count
    assert min(size.canary, size.stable) >= 0


@given(several, step_weights, weights, sizes, sizes)
def test_stable_keeps_what_its_share_needs_but_for_one_pod(
    count: int, step: int, weight: int, live: Size, ready: Size
) -> None:
    """One pod as a node drain may take, and the pods of the one percent that a weight can't express."""
    size = Sizing(IN_PLACE, count).next_size(step, weight, live, ready)

    assert size.stable + 1 + count / 100 > (100 - weight) * count / 100


@given(several, step_weights, weights, sizes)
def test_c1_pods_that_never_get_ready_take_one_stable_pod_at_most(
    count: int, step: int, weight: int, live: Size
) -> None:
    sizing = Sizing(IN_PLACE, count)
    once = sizing.next_size(step, 0, Size(0, count), ready=Size(0, count))
    later = sizing.next_size(step, 0, once, ready=Size(0, once.stable))

    assert once == later == Size(1, count - 1)
    grown = sizing.next_size(step, weight, live, ready=Size(0, live.stable))
    assert grown.canary <= max(1, live.canary)


@given(several, step_weights, weights, sizes)
def test_ready_canary_pods_that_the_weight_needs_are_kept(
    count: int, step: int, weight: int, live: Size
) -> None:
    for strategy in Strategy:
        sizing = Sizing(strategy, count)
        size = sizing.next_size(step, weight, live, ready=live)

        assert size.canary >= min(live.canary, sizing.target(weight).canary)


@given(several, step_weights, sizes)
def test_from_any_state_the_step_is_reached_when_pods_get_ready(count: int, step: int, live: Size) -> None:
    """Changes of the replicas, of the strategy and of the policy midway begin at any state."""
    for strategy in Strategy:
        sizing = Sizing(strategy, count)
        end = end_of(sizing, step, live)

        assert end == sizing.target(step)
        assert sizing.reached(step, end)
        assert min(sizing.attainable(step), sizing.weight_cap(end)) == sizing.attainable(step)


@given(several, st.lists(step_weights, min_size=1, max_size=4))
def test_a_rollout_in_place_swaps_each_pod_once(count: int, steps: list[int]) -> None:
    live, canaries = Size(0, count), []
    for step in sorted(steps):
        canaries += [size.canary for size, _ in follow(Sizing(IN_PLACE, count), step, live)]
        live = end_of(Sizing(IN_PLACE, count), step, live)

    assert canaries == list(range(1, live.canary + 1))


@given(several, step_weights, weights, sizes, sizes)
def test_the_same_state_asks_for_the_same_sizes_again(
    count: int, step: int, weight: int, live: Size, ready: Size
) -> None:
    """With nobody ready in between, a second look changes nothing, once a shrunk model has shed its pods."""
    assume(live.canary + live.stable <= count)
    for strategy in Strategy:
        sizing = Sizing(strategy, count)
        once = sizing.next_size(step, weight, live, Size(0, ready.stable))

        assert sizing.next_size(step, weight, once, Size(0, ready.stable)) == once


def test_surge_that_finds_no_room_midway_gives_its_pending_pods_back() -> None:
    """3 of 8 canary pods found room for 25 %; at 50 % no more did."""
    size = Sizing(IN_PLACE, 8).next_size(50, weight=25, live=Size(8, 8), ready=Size(3, 8))

    assert size == Size(3, 5)


def test_surge_that_finds_no_room_at_all_takes_one_pod() -> None:
    assert Sizing(IN_PLACE, 8).next_size(25, 0, live=Size(3, 8), ready=Size(0, 8)) == Size(1, 7)


def test_more_replicas_midway_load_no_pod_that_is_not_kept() -> None:
    way = [size for size, _ in follow(Sizing(IN_PLACE, 8), 50, Size(2, 2))]

    assert way == [Size(3, 4), Size(4, 4)]


def test_a_restarting_canary_pod_undoes_no_swap() -> None:
    sizing, live = Sizing(IN_PLACE, 8), Size(4, 4)
    weight = sizing.weight_cap(Size(3, 4))

    assert sizing.next_size(50, weight, live, ready=Size(3, 4)) == live


def test_a_canary_that_lost_half_its_pods_gives_room_to_the_traffic_that_returned() -> None:
    sizing, ready = Sizing(IN_PLACE, 8), Size(2, 4)

    assert sizing.next_size(50, sizing.weight_cap(ready), Size(4, 4), ready) == Size(3, 5)


# Weight


def test_g2_without_a_ready_pod_the_canary_carries_nothing() -> None:
    for strategy in Strategy:
        assert Sizing(strategy, 4).weight_cap(Size(0, 4)) == 0


def test_g4_a_lost_canary_pod_lowers_the_weight_at_once() -> None:
    sizing = Sizing(SURGE, 2)

    assert sizing.weight_cap(Size(2, 2)) == 100
    assert sizing.weight_cap(Size(1, 2)) == 33


def test_a_canary_of_full_size_may_carry_everything() -> None:
    assert Sizing(SURGE, 8).weight_cap(Size(8, 8)) == 100
    assert Sizing(IN_PLACE, 8).weight_cap(Size(7, 1)) == 100


def test_l10_a_broken_stable_holds_no_canary_up() -> None:
    sizing = Sizing(SURGE, 8)

    assert sizing.weight_cap(Size(1, 0)) == 100
    assert sizing.reached(5, Size(1, 0))


@given(replicas, counts, counts)
def test_the_weight_is_never_above_the_canarys_share_of_ready_pods(
    count: int, canary: int, stable: int
) -> None:
    for strategy in Strategy:
        cap = Sizing(strategy, count).weight_cap(Size(canary, stable))
        full = canary >= Sizing(strategy, count).target(100).canary

        assert full or cap * (canary + stable) <= 100 * canary


@given(several, step_weights, step_weights)
def test_a_higher_step_is_never_held_at_a_lower_weight(count: int, first: int, second: int) -> None:
    for strategy in Strategy:
        low, high = (Sizing(strategy, count).attainable(step) for step in sorted((first, second)))

        assert low <= high


# Comparable loads


@pytest.mark.parametrize(
    ("weight", "ready", "alike"),
    [
        (50, Size(8, 8), True),
        (25, Size(3, 8), True),
        (5, Size(1, 8), False),
        (5, Size(1, 1), False),
        (40, Size(1, 1), True),
        (39, Size(1, 1), False),
        (0, Size(1, 8), False),
        (100, Size(8, 8), False),
        (50, Size(0, 8), False),
        (50, Size(8, 0), False),
        (50, Size(0, 0), False),
    ],
)
def test_loads_are_comparable_within_a_factor_of_one_and_a_half(
    weight: int, ready: Size, *, alike: bool
) -> None:
    assert comparable(weight, ready) is alike


@pytest.mark.parametrize("count", [1, 2, 3, 8, 100])
def test_the_built_in_policy_compares_latency_somewhere(count: int) -> None:
    assert Sizing(SURGE, count).comparable_somewhere(BUILT_IN_WEIGHTS)
    assert count == 1 or Sizing(IN_PLACE, count).comparable_somewhere(BUILT_IN_WEIGHTS)


def test_a_policy_of_small_steps_only_compares_no_latency_on_few_replicas() -> None:
    assert not Sizing(SURGE, 2).comparable_somewhere([1, 5, 10])
    assert not Sizing(SURGE, 2).comparable_somewhere([])


@given(replicas)
def test_one_weight_is_comparable_everywhere(count: int) -> None:
    assert Sizing(SURGE, count).comparable_somewhere([COMPARABLE_WEIGHT])
    assert count == 1 or Sizing(IN_PLACE, count).comparable_somewhere([COMPARABLE_WEIGHT])


@given(several)
def test_nothing_runs_for_a_model_scaled_to_zero(count: int) -> None:
    assert Sizing(SURGE, 0).next_size(50, 0, Size(count, count), Size(count, count)) == Size(0, 0)
