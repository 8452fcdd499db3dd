"""O5 in small: what rests costs a rollout nothing, and rollouts leave nothing behind; `make soak` has all."""

from many_models import (
    held_after_each_rollout,
    held_while_rolling,
    reads_of_a_look,
    seconds_to_roll_back,
)
from virtual_time import run


def test_a_look_at_a_rollout_reads_as_much_however_many_models_there_are() -> None:
    """O5."""
    few = run(reads_of_a_look(resting=0, rolling=2))
    assert run(reads_of_a_look(resting=20, rolling=2)) == few
    assert run(reads_of_a_look(resting=0, rolling=5)) == few


def test_rollouts_that_go_on_hold_no_more_memory_look_by_look() -> None:
    """O5: not one object more for each of them."""
    before, after = run(held_while_rolling(resting=5, rolling=4, seconds=40))
    assert after - before < 4


def test_rollouts_that_ended_leave_nothing_in_memory() -> None:
    """O5."""
    _, second, third = run(held_after_each_rollout(resting=2, rolling=4, times=3))
    assert third - second < 4


def test_bad_canaries_lose_their_traffic_while_all_models_are_looked_at_anew() -> None:
    """O5."""
    assert run(seconds_to_roll_back(resting=30, rolling=3)) <= 5
