"""In which order the ModelDeployments of a tenant get its GPUs."""

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.plan.gpuqueue import Claim, Limits, turn_of, turns


def claim(name: str, held: int = 0, wanted: int = 0, **more: object) -> Claim:
    """One that is in the lane `completion`, if nothing else is said."""
    usual = {"lane": "completion", "priority": 0, "since": "2026-11-23T00:00:00Z"}
    return Claim(**{**usual, "name": name, "held": held, "wanted": wanted, **more})  # type: ignore[arg-type]


def granted(limits: Limits, *claims: Claim) -> dict[str, int]:
    """Tell who gets how many."""
    return {turn.claim.name: turn.granted for turn in turns(limits, claims)}


def test_the_lane_of_higher_priority_goes_first_and_the_older_one_within_it() -> None:
    young = claim("young", wanted=2, priority=9, since="2026-11-24T00:00:00Z")
    old = claim("old", wanted=2, priority=9)
    low = claim("low", wanted=2)

    assert granted(Limits(3), low, young, old) == {"old": 2, "young": 1, "low": 0}


def test_one_that_was_promised_more_by_another_leader_goes_before_all() -> None:
    rolls_out = claim("rolls-out", held=2, wanted=4, resumes=True)

    assert granted(Limits(4), claim("urgent", wanted=2, priority=9), rolls_out) == {
        "rolls-out": 2,
        "urgent": 0,
    }


def test_who_waits_has_a_position_and_knows_who_is_before_it() -> None:
    first, second, third = turns(Limits(1), [claim(name, wanted=2) for name in ("a", "b", "c")])

    assert [turn.position for turn in (first, second, third)] == [1, 2, 3]
    assert [turn.ahead for turn in (first, second, third)] == ["", "a", "b"]


def test_nobody_overtakes_one_that_waits_for_the_gpus_of_a_whole_pod() -> None:
    large = claim("large", wanted=8, unit=8, priority=9)

    assert granted(Limits(8), large, claim("has", held=4, wanted=4), claim("small", wanted=1)) == {
        "large": 0,
        "small": 0,
    }


def test_one_whose_pod_is_larger_than_the_limit_holds_up_nobody() -> None:
    impossible = claim("impossible", wanted=16, unit=16, priority=9)

    assert granted(Limits(8), impossible, claim("small", wanted=1)) == {"impossible": 0, "small": 1}


def test_one_that_wants_more_than_the_limit_gets_all_of_it_and_holds_up_nobody_else() -> None:
    greedy = claim("greedy", held=2, wanted=100, priority=9)

    assert granted(Limits(8, {"synthesis": 4}), greedy, claim("late", wanted=1)) == {"greedy": 6, "late": 0}


def test_a_full_lane_holds_up_nobody_outside_it() -> None:
    limits = Limits(8, {"completion": 2})
    full = claim("full", held=2, wanted=3, priority=9)
    next_in_lane, other = claim("next", wanted=1), claim("other", wanted=4, lane="synthesis")

    assert granted(limits, full, next_in_lane, other) == {"full": 0, "next": 0, "other": 4}


def test_pods_that_no_claim_stands_for_count() -> None:
    assert granted(Limits(4, elsewhere=3), claim("a", wanted=2)) == {"a": 1}


def test_pods_that_are_to_go_hold_their_gpus_until_they_are_gone() -> None:
    shrinks = claim("shrinks", held=1, wanted=1, leaving=2)

    assert granted(Limits(4), shrinks, claim("a", wanted=3)) == {"a": 1}


def test_a_lowered_limit_takes_nothing_and_admits_nothing() -> None:
    assert granted(Limits(2), claim("large", held=6, wanted=6), claim("a", wanted=1)) == {"a": 0}


def test_one_that_asks_for_everything_gets_what_those_before_it_leave() -> None:
    first = claim("first", held=1, wanted=3, priority=9)
    me = claim("me", held=1, wanted=1)

    turn = turn_of(me, Limits(8), [first, claim("behind", wanted=5, since="2026-11-25T00:00:00Z")])

    assert (turn.granted, turn.ahead) == (4, "")


CLAIMS = st.lists(
    st.builds(
        lambda number, lane, priority, held, wanted, unit: claim(
            f"m{number}", held, wanted, lane=lane, priority=priority, unit=unit
        ),
        st.integers(0, 99),
        st.sampled_from(["completion", "synthesis"]),
        st.integers(0, 2),
        st.integers(0, 6),
        st.integers(0, 12),
        st.integers(1, 8),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)


@given(CLAIMS, st.integers(0, 40), st.integers(0, 20), st.integers(0, 9))
def test_nothing_is_dealt_out_that_is_not_there(
    claims: list[Claim], total: int, in_lane: int, elsewhere: int
) -> None:
    limits = Limits(total, {"completion": in_lane}, elsewhere)
    dealt = granted(limits, *claims)
    after = [each._replace(held=each.held + dealt.get(each.name, 0)) for each in claims]
    lane = [each for each in claims if each.lane == "completion"]

    assert all(more >= 0 for more in dealt.values())
    assert sum(each.held for each in after) + elsewhere <= max(
        total, sum(each.held for each in claims) + elsewhere
    )
    assert sum(each.held for each in after if each.lane == "completion") <= max(
        in_lane, sum(each.held for each in lane)
    )


@given(CLAIMS, st.integers(0, 40))
def test_whoever_gets_all_that_it_could_alone_is_held_up_by_nobody_behind(
    claims: list[Claim], total: int
) -> None:
    if not claims:
        return
    best = min(claims, key=lambda each: (-each.priority, each.since, each.name))
    free = total - sum(each.held for each in claims)

    assert turn_of(best, Limits(total), [each for each in claims if each is not best]).granted == max(0, free)
