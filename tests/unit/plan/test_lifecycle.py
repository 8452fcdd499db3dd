"""Seconds to start and to stop, and that they can't contradict one another."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from builders import model_deployment, queue_class
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.api.values import Duration
from pilothouse.plan.lifecycle import PRE_STOP_SECONDS, Lifecycle, drain_seconds, lifecycle_of
from pilothouse.plan.revision import Revision
from pilothouse.plan.workload import engine_deployment

DAY = 24 * 60 * 60
LIFECYCLES = st.builds(Lifecycle, startup=st.integers(1, DAY), drain=st.integers(1, DAY))


@given(LIFECYCLES)
def test_the_kubelet_waits_longer_than_the_engine_may_need(lifecycle: Lifecycle) -> None:
    assert lifecycle.grace_period > PRE_STOP_SECONDS + lifecycle.drain


@given(LIFECYCLES)
def test_the_startup_probe_covers_the_startup_budget_and_no_more_than_a_period_beyond(
    lifecycle: Lifecycle,
) -> None:
    probe = lifecycle.container_fields()["startupProbe"]
    budget = probe["periodSeconds"] * probe["failureThreshold"]

    assert lifecycle.startup <= budget < lifecycle.startup + probe["periodSeconds"]


@given(LIFECYCLES)
def test_a_rollout_is_not_given_up_before_the_startup_budget_is_spent(lifecycle: Lifecycle) -> None:
    assert lifecycle.progress_deadline > lifecycle.startup


@given(LIFECYCLES)
def test_the_seconds_survive_the_round_trip_through_a_deployment(lifecycle: Lifecycle) -> None:
    template = {"spec": {"terminationGracePeriodSeconds": lifecycle.grace_period}}
    revision = Revision("0123456789", 1, {}, template, lifecycle)
    live = engine_deployment(model_deployment(), revision, 1)["spec"]

    grace_period = live["template"]["spec"]["terminationGracePeriodSeconds"]
    assert Lifecycle.of_deployment(grace_period, live["progressDeadlineSeconds"]) == lifecycle


def test_no_probe_waits_longer_than_its_period() -> None:
    fields = Lifecycle(startup=60, drain=30).container_fields()
    probes = [value for name, value in fields.items() if name.endswith("Probe")]

    assert len(probes) == 3
    assert all(probe["timeoutSeconds"] <= probe["periodSeconds"] for probe in probes)


def test_a_busy_engine_leaves_the_endpoints_long_before_it_is_killed() -> None:
    fields = Lifecycle(startup=60, drain=30).container_fields()
    readiness, liveness = fields["readinessProbe"], fields["livenessProbe"]

    patience = liveness["periodSeconds"] * liveness["failureThreshold"]
    assert patience > 4 * readiness["periodSeconds"] * readiness["failureThreshold"]


def test_parts_of_a_second_are_rounded_up() -> None:
    policy = BUILT_IN.model_copy(update={"startup_deadline": Duration("1500ms")})
    lane = queue_class({"drain": "2s1ms"})

    assert lifecycle_of(lane, policy) == Lifecycle(startup=2, drain=3)
    assert drain_seconds(lane) == 3


def test_the_lane_gives_the_drain_and_the_policy_the_startup() -> None:
    before = lifecycle_of(queue_class(), BUILT_IN)

    assert lifecycle_of(queue_class({"drain": "10m"}), BUILT_IN) == replace(before, drain=600)
    assert before.startup == 30 * 60
