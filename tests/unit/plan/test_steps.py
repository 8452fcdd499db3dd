"""The steps of a policy as numbers."""

import pytest

from pilothouse.api.rolloutpolicy import RolloutPolicySpec
from pilothouse.plan.steps import FULL, capacity_at, promotion, weight_at

STEPS = RolloutPolicySpec.model_validate(
    {
        "steps": [
            {"preflight": {}},
            {"weight": 10, "hold": "1m"},
            {"pause": {}},
            {"weight": 50, "hold": "1m"},
        ]
    }
).steps


def test_the_promotion_comes_after_the_last_step() -> None:
    assert promotion(STEPS) == 5
    assert weight_at(STEPS, promotion(STEPS)) == FULL


@pytest.mark.parametrize(("number", "weight"), [(0, 0), (1, 0), (2, 10), (3, 10), (4, 50)])
def test_a_step_without_a_weight_keeps_that_of_the_step_before(number: int, weight: int) -> None:
    assert weight_at(STEPS, number) == weight


@pytest.mark.parametrize(("number", "weight"), [(0, 10), (1, 10), (2, 10), (3, 10), (4, 50), (5, 100)])
def test_before_the_first_weight_pods_come_for_the_first_one(number: int, weight: int) -> None:
    assert capacity_at(STEPS, number) == weight


def test_a_policy_without_weights_needs_all_pods_from_the_start() -> None:
    steps = RolloutPolicySpec.model_validate({"steps": [{"pause": {}}]}).steps

    assert capacity_at(steps, 0) == FULL
