"""The whole status of a rollout with eight checks and many pods: it is written every few seconds."""

from datetime import timedelta

from builders import DIGEST, NOW, OTHER_COMMIT, observed
from pilothouse.api.analysisstatus import AnalysisStatus
from pilothouse.api.common import Condition
from pilothouse.api.modeldeploymentstatus import (
    CheckStatus,
    ModelDeploymentStatus,
    PreflightStatus,
    RejectedRevision,
    RolloutStatus,
    ServedRevision,
)
from pilothouse.api.samplingstatus import SamplingStatus
from pilothouse.names import ConditionType, Reason, Verdict
from pilothouse.plan.analysis import Rules, fold
from pilothouse.plan.cause import Cause
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.preflight import outcome
from pilothouse.plan.readings import Reading
from pilothouse.plan.record import with_rejection
from pilothouse.plan.revision import Revision
from pilothouse.plan.samples import Arm, Check, Counts, PodSample, Sample
from pilothouse.plan.sampling import MOST_PODS, take

CHECKS = tuple(Check(f"a-check-of-our-own-{number}", 0.05, compares_load=True) for number in range(8))
SENTENCE = "the engine ended with code 137 (OOMKilled), restarts: 2, and " + "more words of the kubelet " * 8


def test_a_status_with_eight_checks_and_many_pods_stays_under_32_kb() -> None:
    status = ModelDeploymentStatus(
        conditions=tuple(_condition(kind) for kind in ConditionType),
        rollout=RolloutStatus(
            state="Holding",
            message=SENTENCE,
            started_at=NOW,
            step_started_at=NOW,
            held_since=NOW,
            preflight=_preflight(),
            checks=tuple(_check(check.name) for check in CHECKS),
            sampling=_sampling(),
            analysis=_analysis(),
        ),
        rejected_revisions=_rejected(),
        history=tuple(_served(number) for number in range(10)),
    )

    written = status.model_dump_json(by_alias=True, exclude_none=True)
    assert len(written) < 32_000


def _uid(arm: Arm, number: int) -> str:
    return f"7f3a9c1d-20b4-4c55-{'9d0e' if arm is Arm.CANARY else '1c2b'}-{number:012}"


def _condition(kind: ConditionType) -> Condition:
    return Condition(
        type=kind,
        status="False",
        reason=Reason.CHECK_INCONCLUSIVE,
        message="LicenseApproval LEGAL-123 ends soon" if kind is ConditionType.LICENSE_EXPIRING else SENTENCE,
        last_transition_time=NOW,
    )


def _check(name: str) -> CheckStatus:
    return CheckStatus(
        name=name,
        verdict=Verdict.INCONCLUSIVE,
        canary=0.123456,
        stable=0.123456,
        threshold=0.173456,
        samples=123_456,
        evidence=0.123,
        message="LoadImbalance: a canary pod gets 1.73 times the requests of a stable pod",
    )


def _served(number: int) -> ServedRevision:
    return ServedRevision(
        revision=f"{number:010}",
        checkpoint_revision=OTHER_COMMIT,
        tokenizer_revision=OTHER_COMMIT,
        license_id="LicenseRef-deepseek-coder",
        checkpoint_source="hf://deepseek-ai/deepseek-coder-6.7b-instruct",
        approval="deepseek-coder-6.7b-instruct-2026",
        served_from=NOW,
        served_until=NOW,
    )


def _preflight() -> tuple[PreflightStatus, ...]:
    results = {
        _uid(Arm.CANARY, number): PreflightStatus(
            pod=_uid(Arm.CANARY, number),
            message=f"the tokenizer's fingerprint is {DIGEST}",
            cold_start_seconds=93.117,
        )
        for number in range(MOST_PODS)
    }
    return outcome((), results, list(results)).results


def _rejected() -> tuple[RejectedRevision, ...]:
    rejected: tuple[RejectedRevision, ...] = ()
    for number in range(40):
        checkpoint = {"source": "hf://Qwen/Qwen2.5-Coder-7B-Instruct", "revision": OTHER_COMMIT}
        inputs = {"model": {"checkpoint": checkpoint}}
        revision = Revision(f"{number:010}", number, inputs, {}, Lifecycle(startup=1, drain=1))
        rejected = with_rejection(rejected, observed(), revision, Cause(Reason.ENGINE_CRASHED, SENTENCE))
    return rejected


def _sampling() -> SamplingStatus:
    readings = [
        Reading(
            pod=_uid(arm, number),
            revision=arm,
            at=NOW,
            counters={
                "vllm:request_success_total/stop": 1_234_567.0,
                "vllm:prompt_tokens_total": 1_234_567_890.0,
                "vllm:generation_tokens_total": 123_456_789.0,
            },
            gauges={
                "process_start_time_seconds": 1_795_406_297.0,
                "vllm:kv_cache_usage_perc": 0.81,
                "vllm:num_requests_running": 9.0,
            },
        )
        for number in range(MOST_PODS)
        for arm in Arm
    ]
    counts = {check.name: Counts(123_456, 1_234_567) for check in CHECKS}
    status, _ = take(
        None,
        readings,
        canary=Arm.CANARY,
        stable=Arm.STABLE,
        counts=lambda _: counts,
        warmup=20,
        ready={},
        now=NOW,
    )
    return status


def _analysis() -> AnalysisStatus | None:
    counts = {check.name: Counts(812.0, 16_000.0) for check in CHECKS}
    pods = tuple(
        PodSample(_uid(arm, number), arm, counts, 1000.0, 500_000.0, 40_000.0, (1000.0,) * 7, 1000.0)
        for number in range(MOST_PODS)
        for arm in Arm
    )
    state: AnalysisStatus | None = None
    for number in range(45):
        sample = Sample(NOW + timedelta(seconds=5 * number), 5.0, pods, MOST_PODS, MOST_PODS)
        state = fold(state, sample, Rules(CHECKS, 0.01, 50))
    return state
