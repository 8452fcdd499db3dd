"""In which order the ModelDeployments of a tenant get its GPUs."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.plan.gpuqueue import Claim, turns, vacancy
from pilothouse.plan.gpus import Gpus, Limits


def claim(name: str, held: int = 0, wanted: int = 0, leaving: int = 0, **more: Any) -> Claim:
    """One that has all in one lane, which is `completion` if nothing else is said, and wants it there."""
    usual = {"lane": "completion", "priority": 0, "since": "2026-11-23T00:00:00Z", **more}
    has, wants, booked = (Gpus.counted([(usual["lane"], gpus)]) for gpus in (held, wanted, held + leaving))
    return Claim(name, held=has, wanted=wants, booked=booked, **usual)


def mover(name: str, held: int, wanted: int, *, together: int, unit: int = 1) -> Claim:
    """One that has GPUs in the lane `synthesis` and wants some in `completion`, so many together."""
    has = Gpus.counted([("synthesis", held)])
    wants = Gpus(together, {"synthesis": held, "completion": wanted})
    return Claim(name, "completion", 0, "2026-11-23T00:00:00Z", has, wants, has, unit)


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


def test_one_may_have_what_those_before_it_leave() -> None:
    first = claim("first", held=1, wanted=3, priority=9)
    me = claim("me", held=1, wanted=1)

    left = vacancy(me, Limits(8), [first, claim("behind", wanted=5, since="2026-11-25T00:00:00Z")])

    assert (left.most.total, left.position, left.ahead) == (5, 1, "")


def test_one_that_brings_its_gpus_waits_for_the_lane_alone_and_holds_up_nobody_elsewhere() -> None:
    limits = Limits(8, {"completion": 2})
    comes = mover("comes", held=2, wanted=2, together=2, unit=2)
    full, late = claim("full", held=1), claim("late", wanted=1)
    other = claim("other", wanted=5, lane="synthesis")

    assert granted(limits, full, comes, late, other) == {"comes": 0, "late": 0, "other": 5}
    assert granted(limits, comes, late, other) == {"comes": 2, "late": 0, "other": 5}


def test_one_that_leaves_a_lane_keeps_its_gpus_there_until_it_is_gone() -> None:
    limits = Limits(8, {"synthesis": 2, "completion": 0})
    leaves, comes = mover("leaves", held=2, wanted=2, together=4), claim("comes", wanted=1, lane="synthesis")

    assert granted(limits, leaves, comes) == {"leaves": 0, "comes": 0}


def test_what_is_left_for_one_is_counted_together_and_by_lane() -> None:
    limits = Limits(8, {"completion": 4, "synthesis": 2})
    me, first = mover("me", held=1, wanted=4, together=5), claim("first", held=1, wanted=2)

    left = vacancy(me, limits, [first])
    assert left.most == Limits(6, {"completion": 2, "synthesis": 2})
    assert (left.position, left.ahead) == (1, "")


LANES = st.sampled_from(["completion", "synthesis"])


@st.composite
def any_claim(draw: st.DrawFn) -> Claim:
    """One that has GPUs in two lanes at the most, and wants some in one of them."""
    lane, wanted = draw(LANES), draw(st.integers(0, 12))
    has = Gpus.counted((each, draw(st.integers(0, 6))) for each in ("completion", "synthesis"))
    together = draw(st.integers(wanted, wanted + has.total))
    name, priority, unit = f"m{draw(st.integers(0, 99))}", draw(st.integers(0, 2)), draw(st.integers(1, 8))
    return Claim(name, lane, priority, "", has, Gpus(together, {lane: wanted}), has, unit)


CLAIMS = st.lists(any_claim(), max_size=8, unique_by=lambda each: each.name)


@given(CLAIMS, st.integers(0, 40), st.integers(0, 20), st.integers(0, 9))
def test_nothing_is_dealt_out_that_is_not_there(
    claims: list[Claim], total: int, in_lane: int, elsewhere: int
) -> None:
    dealt = list(turns(Limits(total, {"completion": in_lane}, elsewhere), claims))
    held = sum(each.held.total for each in claims) + elsewhere
    within = sum(each.held.within("completion") for each in claims)

    assert all(turn.granted >= 0 for turn in dealt)
    assert held + sum(max(0, turn.granted - turn.claim.brought) for turn in dealt) <= max(total, held)
    assert within + sum(turn.granted for turn in dealt if turn.claim.lane == "completion") <= max(
        in_lane, within
    )


@given(CLAIMS, st.integers(0, 40))
def test_whoever_comes_first_is_held_up_by_nobody_behind(claims: list[Claim], total: int) -> None:
    if not claims:
        return
    best = min(claims, key=lambda each: (-each.priority, each.since, each.name))
    free = total - sum(each.held.total for each in claims)

    left = vacancy(best, Limits(total), [each for each in claims if each is not best])
    assert left.most.total == best.held.total + max(0, free)
