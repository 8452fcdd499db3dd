"""What the policies together say of a license."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import COMMIT, NOW, OTHER_COMMIT, Cluster, by_kind, condition, model_deployment, observed
from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.plan.license import LicenseVerdict, declared_pins, license_verdict
from pilothouse.plan.observed import Observed
from pilothouse.plan.plan import plan

CHECKPOINT = "hf://Qwen/Qwen2.5-Coder-7B-Instruct"


def policy(
    decision: str = "Deny", *ids: str, on_violation: str = "Report", default: str = "Deny"
) -> LicensePolicySpec:
    rules = [{"ids": list(ids), "decision": decision, "reason": "so says legal"}] if ids else []
    return LicensePolicySpec.model_validate({"default": default, "rules": rules, "onViolation": on_violation})


def approval(**changes: object) -> LicenseApprovalSpec:
    return LicenseApprovalSpec.model_validate(
        {
            "licenseID": "Apache-2.0",
            "checkpoint": CHECKPOINT,
            "revision": COMMIT,
            "ticket": "LEGAL-123",
            "expires": NOW + timedelta(days=1),
            **changes,
        }
    )


def seen(policies: dict[str, LicensePolicySpec | None], *approvals: LicenseApprovalSpec) -> Observed:
    named = {f"approval-{number}": approval for number, approval in enumerate(approvals)}
    return observed(license_policies=policies, approvals=named)


def verdict(policies: dict[str, LicensePolicySpec | None], *approvals: LicenseApprovalSpec) -> LicenseVerdict:
    observed = seen(policies, *approvals)
    return license_verdict(observed, declared_pins(observed.deployment))


def test_without_a_policy_every_license_is_accepted() -> None:
    assert verdict({}).reason == "NoPolicy"


def test_a_rule_allows_its_ids() -> None:
    said = verdict({"corporate": policy("Allow", "Apache-2.0")})

    assert (said.allowed, said.reason) == (True, "LicenseAllowed")


def test_a_denial_names_policy_license_and_reason() -> None:
    said = verdict({"corporate": policy("Deny", "Apache-2.0")})

    assert (said.allowed, said.reason) == (False, "LicenseDenied")
    assert all(word in said.message for word in ("corporate", "Apache-2.0", "so says legal"))


def test_what_no_rule_names_falls_to_the_default() -> None:
    assert not verdict({"corporate": policy("Allow", "MIT")}).allowed
    assert verdict({"corporate": policy("Deny", "MIT", default="Allow")}).allowed


def test_the_strictest_of_several_policies_decides() -> None:
    said = verdict(
        {"a": policy(default="Allow"), "b": policy("Deny", "Apache-2.0"), "c": policy(default="Allow")}
    )

    assert not said.allowed
    assert "LicensePolicy b" in said.message


def test_a_policy_that_cannot_be_read_allows_nothing() -> None:
    assert not verdict({"a": policy(default="Allow"), "broken": None}).allowed


def test_an_approval_opens_exactly_what_it_names() -> None:
    policies: dict[str, LicensePolicySpec | None] = {"corporate": policy("RequireApproval", "Apache-2.0")}

    assert verdict(policies).reason == "LicenseApprovalRequired"
    assert verdict(policies, approval()).reason == "LicenseApproved"


@pytest.mark.parametrize(
    "other",
    [
        {"revision": OTHER_COMMIT},
        {"licenseID": "MIT"},
        {"checkpoint": "hf://Qwen/Qwen2.5-Coder-7B"},
    ],
)
def test_an_approval_of_something_else_opens_nothing(other: dict[str, str]) -> None:
    policies: dict[str, LicensePolicySpec | None] = {"corporate": policy("RequireApproval", "Apache-2.0")}

    assert verdict(policies, approval(**other)).reason == "LicenseApprovalRequired"


@given(seconds=st.integers(-(10**6), 10**6))
def test_an_approval_holds_until_the_second_in_which_it_expires(seconds: int) -> None:
    left = timedelta(seconds=seconds)
    said = verdict({"corporate": policy(default="RequireApproval")}, approval(expires=NOW + left))

    assert said.allowed == (seconds > 0)
    assert said.look_again_after(NOW) == (left if seconds > 0 else None)


def test_a_denied_license_gets_no_object_at_all() -> None:
    after = plan(seen({"corporate": policy()}))

    assert after.objects == ()
    assert condition(after, "LicenseAccepted")["status"] == "False"
    assert condition(after, "Ready")["reason"] == "LicenseDenied"
    assert condition(after, "Stalled")["status"] == "True"


def test_what_runs_stays_when_a_policy_only_reports_but_never_grows() -> None:
    cluster = Cluster()
    stable = cluster.settle().status["stable"]["revision"]
    after = cluster.change({"replicas": 5}, license_policies={"corporate": policy()}).tick()

    assert after.prunes == ()
    assert after.status["stable"]["revision"] == stable
    assert [obj["spec"]["replicas"] for obj in by_kind(after, "Deployment")] == [2]
    assert condition(after, "Ready")["message"].endswith(f"revision {stable} serves on")


def test_a_policy_that_drains_takes_away_what_runs() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change(license_policies={"corporate": policy(on_violation="Drain")}).settle()

    assert cluster.kinds() == []
    assert cluster.plan.status["phase"] == "Pending"


def test_the_end_of_an_approval_is_acted_on_when_it_comes() -> None:
    cluster = Cluster(seen({"corporate": policy(default="RequireApproval")}, approval()))
    after = cluster.settle()

    assert condition(after, "Ready")["status"] == "True"
    assert after.requeue_after
    assert after.requeue_after <= timedelta(days=1)
    late = plan(cluster.change(now=NOW + timedelta(days=2)).seen)
    assert condition(late, "Ready")["reason"] == "LicenseApprovalExpired"


def test_a_quota_that_nobody_enforces_is_not_claimed() -> None:
    after = plan(observed(model_deployment(), tenant_quotas=("team-ide",)))

    assert condition(after, "QuotaReserved")["status"] == "Unknown"
    assert condition(after, "QuotaReserved")["reason"] == "QuotaNotEnforced"
