"""How samples become verdicts. Error rates over many rollouts are measured in benchmarks/detection."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.api.analysisstatus import AnalysisStatus, ComparisonStatus
from pilothouse.api.modeldeploymentstatus import CheckStatus
from pilothouse.names import Verdict
from pilothouse.plan.analysis import Rules, begin_step, fold, observed_share, verdicts
from pilothouse.plan.evidence import weigh
from pilothouse.plan.samples import Arm, Check, Counts, PodSample, Sample

LATENCY = Check("time-to-first-token", margin=0.05, compares_load=True, objective=0.05)
SUCCESS = Check("success", margin=0.01, compares_load=False, objective=0.01)
RULES = Rules(checks=(LATENCY, SUCCESS), false_alarm=0.01, min_requests=50)


def pod(  # noqa: PLR0913 -- what a test says of a pod
    name: str,
    arm: Arm,
    *,
    slow: float = 0,
    failed: float = 0,
    requests: float = 20,
    lengths: tuple[float, ...] = (),
) -> PodSample:
    counts = {LATENCY.name: Counts(slow, requests), SUCCESS.name: Counts(failed, requests)}
    return PodSample(name, arm, counts, requests, requests * 500, requests * 40.0, lengths, requests)


def sample(*pods: PodSample) -> Sample:
    ready = [sum(pod.arm is arm for pod in pods) for arm in (Arm.CANARY, Arm.STABLE)]
    return Sample(datetime(2026, 11, 24, tzinfo=UTC), 5.0, pods, *ready)


def window(canary: PodSample | None = None, *, slow: float = 1, failed: float = 0) -> Sample:
    """One canary pod, or none, and three stable pods that differ a little."""
    stable = [
        pod(f"stable-{number}", Arm.STABLE, slow=slow * share, failed=failed)
        for number, share in enumerate((0.5, 1.0, 1.5))
    ]
    return sample(*([canary] if canary else []), *stable)


def canary(**differs: float | tuple[float, ...]) -> PodSample:
    return pod("canary-0", Arm.CANARY, **{"slow": 1, **differs})  # type: ignore[arg-type]


def folded(
    samples: Sequence[Sample], rules: Rules = RULES, state: AnalysisStatus | None = None
) -> AnalysisStatus:
    """Begin a step and fold `samples`."""
    state = begin_step(state or watched(rules))
    for one in samples:
        state = fold(state, one, rules)
    return state


@cache
def watched(rules: Rules) -> AnalysisStatus:
    """Stable alone for five minutes, before the canary has traffic."""
    state = fold(None, window(), rules)
    for _ in range(59):
        state = fold(state, window(), rules)
    return state


def judged(
    samples: Sequence[Sample], rules: Rules = RULES, *, comparable: bool = True
) -> dict[str, CheckStatus]:
    found = verdicts(folded(samples, rules), rules, comparable=comparable)
    return {check.name: check for check in found}


def test_without_samples_nothing_is_decided() -> None:
    found = verdicts(None, RULES, comparable=True)
    assert [(check.verdict, check.samples, check.evidence) for check in found] == [
        (Verdict.INCONCLUSIVE, 0, None)
    ] * 2


def test_a_canary_like_stable_passes() -> None:
    found = judged([window(canary())] * 100)
    assert {check.verdict for check in found.values()} == {Verdict.PASS}
    assert all(check.evidence is not None and check.evidence < 1 for check in found.values())


def test_a_slow_canary_fails_with_its_shares_and_its_threshold() -> None:
    found = judged([window(canary(slow=10))] * 40)
    check = found[LATENCY.name]
    assert check.verdict == Verdict.FAIL
    assert (check.canary, check.stable, check.threshold) == (0.5, 0.05, 0.1)
    assert check.samples == 800
    assert check.evidence is not None
    assert check.evidence >= 1
    assert found[SUCCESS.name].verdict != Verdict.FAIL


def test_errors_fail_long_before_the_fewest_requests_for_a_pass() -> None:
    found = judged([window(canary(failed=10))] * 2)
    assert found[SUCCESS.name].verdict == Verdict.FAIL


def test_a_canary_that_is_worse_within_its_margin_does_not_fail() -> None:
    assert judged([window(canary(slow=1.8))] * 200)[LATENCY.name].verdict != Verdict.FAIL


def test_no_bad_event_in_few_requests_proves_little() -> None:
    found = judged([window(canary(slow=0), slow=0)] * 3)
    assert found[SUCCESS.name].verdict == Verdict.INCONCLUSIVE
    assert found[SUCCESS.name].message == "TooLittleEvidence"


def test_a_pass_needs_the_fewest_requests_anew_in_each_step() -> None:
    state = folded([window(canary())] * 100)
    found = verdicts(begin_step(state), RULES, comparable=True)
    assert {check.message for check in found} == {"TooFewRequests: 0 of 50"}
    after = verdicts(folded([window(canary())] * 3, state=state), RULES, comparable=True)
    assert {check.verdict for check in after} == {Verdict.PASS}


def test_a_canary_that_turns_bad_in_a_later_step_fails_in_spite_of_its_past() -> None:
    state = folded([window(canary())] * 200)
    after = verdicts(folded([window(canary(slow=10))] * 40, state=state), RULES, comparable=True)
    assert after[0].verdict == Verdict.FAIL


def test_a_pass_does_not_outlast_a_step_that_speaks_against_it() -> None:
    state = folded([window(canary())] * 200)
    after = verdicts(folded([window(canary(slow=4))] * 4, state=state), RULES, comparable=True)
    assert after[0].verdict == Verdict.INCONCLUSIVE


def test_a_change_of_share_and_level_together_is_no_evidence() -> None:
    quiet = [window(canary(requests=2, slow=0), slow=0)] * 60
    busy = [window(canary(requests=20, slow=8), slow=8)] * 60
    found = judged([*quiet, *busy])[LATENCY.name]
    assert found.verdict != Verdict.FAIL
    assert found.canary == pytest.approx(found.stable, abs=0.02)


def test_bad_events_in_runs_count_for_less() -> None:
    # Stable's own slow requests come all in one pod: the same canary is then within the noise.
    def runs(number: int) -> list[PodSample]:
        hit = number // 6 % 3
        return [pod(f"stable-{index}", Arm.STABLE, slow=9 * (index == hit)) for index in range(3)]

    state = None
    for number in range(60):
        state = fold(state, sample(*runs(number)), RULES)
    assert state is not None
    slow = canary(slow=8)
    noisy = folded([sample(slow, *runs(number)) for number in range(12)], state=state)
    calm = folded([window(slow, slow=3)] * 12)
    evidence = [verdicts(state, RULES, comparable=True)[0].evidence for state in (noisy, calm)]
    assert evidence[0] is not None
    assert evidence[1] is not None
    assert evidence[0] < evidence[1] / 2


def test_a_single_stable_pod_learns_its_noise_from_its_own_past() -> None:
    def alone(number: int) -> PodSample:
        return pod("stable-0", Arm.STABLE, slow=6 * (number // 6 % 2))

    state = None
    for number in range(60):
        state = fold(state, sample(alone(number)), RULES)
    assert state is not None
    assert state.checks[0].stable_blocks[0].chi_squared > 3 * state.checks[0].stable_blocks[0].degrees > 0


def test_latencies_under_unlike_load_are_inconclusive() -> None:
    found = judged([window(canary(requests=60, slow=50))] * 60)
    assert found[LATENCY.name].verdict == Verdict.INCONCLUSIVE
    assert found[LATENCY.name].message.startswith("LoadImbalance: a canary pod gets 3.00 times the requests")


def test_what_was_seen_under_unlike_load_is_no_evidence_later() -> None:
    unlike = [window(canary(requests=60, slow=50))] * 60
    alike = [window(canary())] * 200
    assert judged([*unlike, *alike])[LATENCY.name].verdict == Verdict.PASS


def test_load_that_is_known_of_a_whole_revision_only_is_shared_by_its_ready_pods() -> None:
    both = (pod("", Arm.CANARY, slow=1), pod("", Arm.STABLE, slow=3, requests=60))
    alike, unlike = (replace(sample(*both), canary_ready=1, stable_ready=ready) for ready in (3, 20))
    assert "LoadImbalance" not in judged([alike] * 20)[LATENCY.name].message
    assert judged([unlike] * 60)[LATENCY.name].message.startswith("LoadImbalance")


def test_few_requests_may_differ_by_chance() -> None:
    found = judged([window(canary(requests=1, slow=0), slow=0), window(canary(requests=40), slow=0)])
    assert "LoadImbalance" not in found[LATENCY.name].message


def test_a_new_step_is_judged_by_its_own_load() -> None:
    idle = canary(requests=0, slow=0)
    state = folded([window(idle)] * 20)
    assert verdicts(state, RULES, comparable=True)[0].message.startswith("LoadImbalance")
    after = verdicts(folded([window(canary())] * 2, state=state), RULES, comparable=True)
    assert "LoadImbalance" not in after[0].message


def test_a_canary_that_drowns_is_not_excused_by_what_it_does_not_do() -> None:
    drowns = replace(canary(requests=5, slow=5), arrivals=20.0)
    assert judged([window(drowns)] * 60)[LATENCY.name].verdict == Verdict.FAIL


def test_the_tokens_of_a_request_prove_no_more_than_the_request_until_noise_is_learnt() -> None:
    def tokens(pod: PodSample, factor: float) -> PodSample:
        counts = pod.counts[LATENCY.name]
        return replace(pod, counts={LATENCY.name: Counts(counts.bad * factor, counts.total * factor)})

    rules = replace(RULES, checks=(LATENCY,))
    evidence = []
    for factor in (1, 40):
        state = None
        for one in [window(canary(slow=12), slow=0)] * 4:
            state = fold(state, replace(one, pods=tuple(tokens(pod, factor) for pod in one.pods)), rules)
        evidence.append(verdicts(state, rules, comparable=True)[0].evidence)
    assert evidence[0] is not None
    assert evidence[1] is not None
    assert 0 < evidence[1] <= evidence[0]


def test_errors_are_judged_under_unlike_load_too() -> None:
    assert judged([window(canary(requests=60, failed=30))] * 10)[SUCCESS.name].verdict == Verdict.FAIL


def test_latencies_of_unlike_prompts_are_inconclusive() -> None:
    stable = [pod(f"stable-{number}", Arm.STABLE, slow=1, lengths=(10.0, 10.0)) for number in range(3)]
    found = judged([sample(canary(slow=15, lengths=(2.0, 18.0)), *stable)] * 30)
    assert found[LATENCY.name].verdict == Verdict.INCONCLUSIVE
    assert found[LATENCY.name].message.startswith("PromptLengths: 40% of the canary's prompts")


def test_latencies_are_deferred_where_loads_cannot_be_alike() -> None:
    found = judged([window(canary(slow=15, failed=10))] * 30, comparable=False)
    assert found[LATENCY.name].verdict == Verdict.DEFERRED
    assert found[SUCCESS.name].verdict == Verdict.FAIL


def test_both_sides_bad_is_held_and_said() -> None:
    found = judged([window(canary(slow=10), slow=10)] * 200)[LATENCY.name]
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.message == "StableBreached: stable has 50.0% bad where the lane allows 5.0%"


def test_a_check_that_cannot_be_read_is_an_error_after_three_samples() -> None:
    blind = replace(canary(), counts={})
    messages = [judged([window(blind)] * count)[SUCCESS.name].verdict for count in (2, 3)]
    assert messages == [Verdict.INCONCLUSIVE, Verdict.ERROR]


def test_an_error_ends_with_the_next_measurement() -> None:
    blind = replace(canary(), counts={})
    found = judged([*[window(blind)] * 5, window(canary())])
    assert found[SUCCESS.name].verdict == Verdict.INCONCLUSIVE


def test_a_rounded_threshold_is_said() -> None:
    rules = replace(RULES, checks=(replace(LATENCY, note="judged at 500 ms"),))
    assert judged([window(canary())] * 100, rules)[LATENCY.name].message == "judged at 500 ms"


def test_more_checks_share_the_same_false_alarms() -> None:
    more = replace(
        RULES, checks=(*RULES.checks, *(Check(f"c-{n}", 0.05, compares_load=False) for n in range(6)))
    )
    samples = [window(canary(slow=6))] * 10
    few, many = (judged(samples, rules)[LATENCY.name].evidence for rules in (RULES, more))
    assert few is not None
    assert many is not None
    assert many < few


def test_the_observed_share_is_of_requests_in_this_step() -> None:
    state = folded([window(canary())] * 3)
    assert observed_share(state) == pytest.approx(25)
    assert observed_share(begin_step(state)) is None


def test_stable_pods_that_are_gone_are_forgotten() -> None:
    state = None
    for number in range(100):
        state = fold(state, sample(pod(f"stable-{number}", Arm.STABLE)), RULES)
    assert state is not None
    assert len(state.pods) <= 24


def test_the_state_of_eight_checks_and_thirty_two_pods_stays_small() -> None:
    checks = tuple(Check(f"a-check-of-our-own-{number}", 0.05, compares_load=True) for number in range(8))
    counts = {check.name: Counts(812.0, 16000.0) for check in checks}
    uid = "1b6c3f0e-6a0c-4a35-9d0e-0000000000"
    pods = [
        PodSample(f"{uid}{number:02}", arm, counts, 1000.0, 500000.0, 40000.0, (1000.0,) * 20)
        for number in range(16)
        for arm in (Arm.CANARY, Arm.STABLE)
    ]
    rules = replace(RULES, checks=checks)
    state = None
    for _ in range(200):
        state = fold(state, sample(*pods), rules)
    assert state is not None
    assert len(state.model_dump_json(by_alias=True)) < 14_000


@st.composite
def windows(draw: st.DrawFn) -> Sample:
    """Draw any window: any pods of either arm, any counts."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    return sample(*(draw(pods(name)) for name in names))


@st.composite
def pods(draw: st.DrawFn, name: str) -> PodSample:
    requests = draw(st.integers(0, 200))
    return pod(
        name,
        draw(st.sampled_from(Arm)),
        slow=draw(st.integers(0, requests)),
        failed=draw(st.integers(0, requests)),
        requests=requests,
    )


HISTORIES = st.lists(windows(), min_size=1, max_size=8)


@given(HISTORIES)
def test_any_history_gives_a_verdict_for_each_check(history: list[Sample]) -> None:
    state = folded(history)
    for comparable in (True, False):
        found = verdicts(state, RULES, comparable=comparable)
        assert [check.name for check in found] == [LATENCY.name, SUCCESS.name]
        for check in found:
            assert check.verdict in list(Verdict)
            assert (check.verdict == Verdict.PASS) or check.message or check.verdict == Verdict.FAIL


@given(HISTORIES, st.randoms())
def test_the_order_of_the_pods_does_not_matter(history: list[Sample], random: object) -> None:
    shuffled = [replace(one, pods=tuple(random.sample(one.pods, len(one.pods)))) for one in history]  # type: ignore[attr-defined]
    assert verdicts(folded(shuffled), RULES, comparable=True) == verdicts(
        folded(history), RULES, comparable=True
    )


@given(HISTORIES)
def test_a_state_that_was_written_and_read_goes_on_as_if_it_never_was(history: list[Sample]) -> None:
    kept = folded(history)
    read = AnalysisStatus.model_validate_json(kept.model_dump_json(by_alias=True, exclude_defaults=True))
    assert read == kept
    assert fold(read, history[0], RULES) == fold(kept, history[0], RULES)


SHARES = st.floats(0, 1)


@given(SHARES, SHARES, SHARES, st.floats(1, 1e6), st.floats(1, 1000))
def test_more_bad_answers_of_the_canary_never_lower_the_evidence_at_the_same_noise(
    one: float, other: float, stable: float, weight: float, noise: float
) -> None:
    fewer, more = (
        weigh(ComparisonStatus(canary=share * weight, stable=stable * weight, weight=weight), 0.05, noise)
        for share in sorted((one, other))
    )
    assert more.worse >= fewer.worse
    assert more.better <= fewer.better


@given(st.lists(st.integers(0, 19), min_size=1, max_size=5), st.data())
def test_one_more_bad_answer_in_the_first_half_minute_never_lowers_the_evidence(
    bad: list[int], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(bad) - 1))
    more = [count + (number == at) for number, count in enumerate(bad)]
    before, after = (
        judged([window(canary(failed=n)) for n in counts])[SUCCESS.name].evidence for counts in (bad, more)
    )
    assert before is not None
    assert after is not None
    assert after >= before


@given(HISTORIES)
def test_unlike_load_never_fails_a_latency(history: list[Sample]) -> None:
    unlike = [window(canary(requests=60, slow=50))] * 60
    assert judged([*history, *unlike])[LATENCY.name].verdict == Verdict.INCONCLUSIVE
