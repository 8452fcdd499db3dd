"""O5: 1,000 models, 50 of which roll out: rollbacks stay fast and memory flat, in minutes of virtual time.

Not among the tests that run on each change: `make soak` takes ten minutes.
"""

import pytest

from many_models import held_after_each_rollout, held_while_rolling, reads_of_a_look, seconds_to_roll_back
from virtual_time import run

MODELS, ROLLOUTS = 950, 50

pytestmark = pytest.mark.timeout(3600)


def test_a_look_at_a_rollout_reads_as_much_however_many_models_there_are() -> None:
    """O5."""
    assert run(reads_of_a_look(MODELS, ROLLOUTS)) == run(reads_of_a_look(0, 2))


def test_rollouts_that_go_on_hold_no_more_memory_look_by_look() -> None:
    """O5: not one object more for each of them, in 500 looks."""
    before, after = run(held_while_rolling(MODELS, ROLLOUTS, seconds=500))
    assert after - before < ROLLOUTS


def test_rollouts_that_ended_leave_nothing_in_memory() -> None:
    """O5."""
    _, second, third = run(held_after_each_rollout(MODELS, ROLLOUTS, times=3))
    assert third - second < ROLLOUTS


def test_bad_canaries_lose_their_traffic_while_all_models_are_looked_at_anew() -> None:
    """O5: each look is taken to cost 10 ms of one core, so all models take it for 10 s."""
    assert run(seconds_to_roll_back(MODELS, ROLLOUTS)) <= 5
