"""What the policies together say of a license."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import COMMIT, NOW, OTHER_COMMIT, model_deployment, observed
from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.plan.license import LicenseVerdict, declared_pins, license_verdict

CHECKPOINT = "hf://Qwen/Qwen2.5-Coder-7B-Instruct"
Policies = dict[str, LicensePolicySpec | None]
Approvals = dict[str, LicenseApprovalSpec | None]


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
            "expires": NOW + timedelta(days=365),
            **changes,
        }
    )


def verdict(
    policies: Policies, approvals: Approvals | None = None, license_id: str = "Apache-2.0", **fields: object
) -> LicenseVerdict:
    seen = observed(
        model_deployment({"model": {"license": {"id": license_id}}}),
        license_policies=policies,
        approvals=approvals or {},
        **fields,
    )
    return license_verdict(seen, declared_pins(seen.deployment))


def test_without_a_policy_every_license_is_accepted() -> None:
    said = verdict({})

    assert (said.allowed, said.reason, said.said.decision) == (True, "NoPolicy", "NoPolicy")


def test_without_a_policy_that_the_operator_demands_every_license_is_refused() -> None:
    said = verdict({}, demands_license_policy=True)

    assert (said.allowed, said.reason) == (False, "LicensePolicyMissing")
    assert verdict({"corporate": policy("Allow", "Apache-2.0")}, demands_license_policy=True).allowed


def test_a_rule_allows_its_ids() -> None:
    said = verdict({"corporate": policy("Allow", "Apache-2.0")})

    assert (said.allowed, said.reason) == (True, "LicenseAllowed")
    assert (said.said.decision, said.said.policy) == ("Allow", "corporate")


def test_a_denial_names_policy_rule_license_and_reason() -> None:
    said = verdict({"corporate": policy("Deny", "Apache-2.0")})

    assert (said.allowed, said.reason) == (False, "LicenseDenied")
    for word in ("corporate", "spec.model.license.id Apache-2.0", "spec.rules[0]", "so says legal"):
        assert word in said.message
    assert (said.said.decision, said.said.policy) == ("Deny", "corporate")


def test_what_no_rule_names_falls_to_the_default() -> None:
    denied = verdict({"corporate": policy("Allow", "MIT")})

    assert not denied.allowed
    assert "spec.default: no rule names it" in denied.message
    assert verdict({"corporate": policy("Deny", "MIT", default="Allow")}).allowed


@pytest.mark.parametrize(
    "license_id", ["LICENSEREF-FORBIDDEN", "LicenseRef-Forbidden+", "DocumentRef-D:LicenseRef-Forbidden"]
)
def test_another_spelling_of_a_denied_license_is_denied(license_id: str) -> None:
    assert not verdict({"a": policy("Deny", "LicenseRef-Forbidden", default="Allow")}, {}, license_id).allowed


def test_the_strictest_of_several_policies_decides() -> None:
    lax = policy(default="Allow")
    said = verdict({"a": lax, "b": policy("Deny", "Apache-2.0"), "c": lax})

    assert not said.allowed
    assert "LicensePolicy b" in said.message


def test_a_policy_that_cannot_be_read_allows_nothing_and_is_named() -> None:
    said = verdict({"a": policy(default="Allow"), "broken": None})

    assert not said.allowed
    assert "LicensePolicy broken can't be read" in said.message


def test_of_two_that_refuse_each_may_have_what_runs_stopped() -> None:
    drains = policy("RequireApproval", "Apache-2.0", default="Allow", on_violation="Drain")
    said = verdict({"a": drains, "b": policy("Deny", "Apache-2.0")})

    assert said.drains
    assert "denies" in said.message
    assert "what runs is stopped by onViolation of LicensePolicy a" in said.message


def test_a_policy_that_drains_and_allows_stops_nothing() -> None:
    drains = policy("Allow", "Apache-2.0", on_violation="Drain")

    assert not verdict({"a": drains, "b": policy("Deny", "Apache-2.0")}).drains


@pytest.mark.parametrize(
    ("license_id", "allowed"),
    [
        ("MIT OR LicenseRef-No", True),
        ("LicenseRef-No OR LicenseRef-Never", False),
        ("MIT AND LicenseRef-No", False),
        ("MIT AND (LicenseRef-No OR Apache-2.0)", True),
        ("MIT AND Apache-2.0", True),
        ("MIT WITH LLVM-exception", True),
        ("LicenseRef-No WITH LLVM-exception", False),
        ("LicenseRef-No WITH Permission", True),
    ],
)
def test_an_expression_is_judged_part_by_part(license_id: str, *, allowed: bool) -> None:
    whole = policy("Allow", "MIT", "Apache-2.0", "LicenseRef-No WITH Permission")

    assert verdict({"corporate": whole}, {}, license_id).allowed == allowed


def test_what_is_no_expression_is_refused_even_without_a_policy() -> None:
    said = verdict({}, {}, "MIT) OR (Apache-2.0")

    assert (said.allowed, said.reason) == (False, "InvalidSpec")
    assert "is no SPDX expression" in said.message


GATED: Policies = {"corporate": policy("RequireApproval", "Apache-2.0", default="Allow")}


def test_an_approval_opens_exactly_what_it_names() -> None:
    assert verdict(GATED).reason == "LicenseApprovalRequired"

    said = verdict(GATED, {"la-1": approval()})
    assert said.reason == "LicenseApproved"
    assert (said.said.approval, said.said.ticket) == ("la-1", "LEGAL-123")
    assert said.said.expires == NOW + timedelta(days=365)


@pytest.mark.parametrize(
    "other", [{"revision": OTHER_COMMIT}, {"licenseID": "MIT"}, {"checkpoint": "hf://Qwen/Qwen2.5-Coder-7B"}]
)
def test_an_approval_of_something_else_opens_nothing(other: dict[str, str]) -> None:
    assert verdict(GATED, {"la-1": approval(**other)}).reason == "LicenseApprovalRequired"


def test_an_approval_is_of_the_part_that_needs_it() -> None:
    both = {"la-1": approval()}

    assert verdict(GATED, both, "MIT AND Apache-2.0").allowed
    assert verdict(GATED, both, "MIT AND Apache-2.0").said.approval == "la-1"
    assert not verdict(GATED, {"la-1": approval(licenseID="MIT")}, "MIT AND Apache-2.0").allowed


def test_an_approval_opens_nothing_that_is_denied() -> None:
    assert (
        verdict({"corporate": policy("Deny", "Apache-2.0")}, {"la-1": approval()}).reason == "LicenseDenied"
    )


def test_an_approval_that_cannot_be_read_is_none_and_is_named() -> None:
    said = verdict(GATED, {"la-broken": None})

    assert said.reason == "LicenseApprovalRequired"
    assert "la-broken" in said.message


def test_of_several_approvals_the_one_that_ends_last_counts() -> None:
    late = approval(ticket="LEGAL-2", expires=NOW + timedelta(days=400))
    said = verdict(GATED, {"a": approval(expires=NOW - timedelta(days=1)), "b": late, "c": approval()})

    assert (said.said.approval, said.said.ticket) == ("b", "LEGAL-2")


def test_an_expired_approval_is_named_with_its_end() -> None:
    said = verdict(GATED, {"la-1": approval(expires=NOW)})

    assert said.reason == "LicenseApprovalExpired"
    assert "LicenseApproval la-1 (LEGAL-123) has expired at 2026-11-23T12:00:00Z" in said.message


@given(seconds=st.integers(-(10**7), 10**7))
def test_an_approval_holds_until_the_second_in_which_it_expires(seconds: int) -> None:
    left = timedelta(seconds=seconds)
    said = verdict(GATED, {"la-1": approval(expires=NOW + left)})

    assert said.allowed == (seconds > 0)


@given(seconds=st.integers(1, 10**7))
def test_time_is_looked_at_when_the_end_comes_near_and_when_it_is_there(seconds: int) -> None:
    left, fortnight = timedelta(seconds=seconds), timedelta(days=14)
    said = verdict(GATED, {"la-1": approval(expires=NOW + left)})

    assert said.expires_soon(NOW) == (left <= fortnight)
    assert said.look_again_after(NOW) == (left if left <= fortnight else left - fortnight)


def refused_by(name: str, decision: str = "Deny", license_id: str = "Apache-2.0") -> dict[str, object]:
    """A status that remembers a refusal."""
    return {"license": {"id": license_id, "decision": decision, "policy": name}}


def after_a_loss(
    status: dict[str, object],
    policies: Policies | None = None,
    approvals: Approvals | None = None,
    license_id: str = "Apache-2.0",
) -> LicenseVerdict:
    """The verdict where the status remembers something."""
    deployment = model_deployment({"model": {"license": {"id": license_id}}}, status=status)
    seen = observed(deployment, license_policies=policies or {}, approvals=approvals or {})
    return license_verdict(seen, declared_pins(deployment))


@pytest.mark.parametrize("decision", ["Deny", "RequireApproval"])
def test_what_a_policy_refused_that_is_gone_stays_refused(decision: str) -> None:
    said = after_a_loss(refused_by("gone", decision))

    assert (said.allowed, said.reason) == (False, "LicensePolicyMissing")
    assert "a rule of a LicensePolicy must allow Apache-2.0, or a LicenseApproval" in said.message
    assert (said.said.policy, said.said.decision) == ("gone", decision)


def test_a_default_does_not_open_what_a_lost_policy_closed() -> None:
    said = after_a_loss(refused_by("gone"), {"lax": policy(default="Allow")})

    assert (said.allowed, said.reason, said.said.policy) == (False, "LicensePolicyMissing", "gone")


def test_a_rule_opens_what_a_lost_policy_closed() -> None:
    said = after_a_loss(refused_by("gone"), {"lax": policy("Allow", "Apache-2.0")})

    assert (said.allowed, said.said.policy) == (True, "lax")


def test_a_rule_of_another_policy_takes_the_place_of_a_lost_one() -> None:
    said = after_a_loss(refused_by("gone"), {"strict": policy("Deny", "Apache-2.0")})

    assert (said.reason, said.said.policy) == ("LicenseDenied", "strict")


def test_an_approval_opens_what_a_lost_policy_closed_as_long_as_it_holds() -> None:
    held = after_a_loss(refused_by("gone"), {}, {"la-1": approval()})
    over = after_a_loss(refused_by("gone"), {}, {"la-1": approval(expires=NOW)})

    assert (held.allowed, held.said.approval, held.said.policy) == (True, "la-1", "gone")
    assert (over.allowed, over.reason) == (False, "LicensePolicyMissing")


def test_every_part_must_be_opened_that_a_lost_policy_closed() -> None:
    status = refused_by("gone", license_id="MIT AND Apache-2.0")
    partly: Policies = {"a": policy("Allow", "MIT", default="Allow")}
    wholly: Policies = {"a": policy("Allow", "MIT", "Apache-2.0")}

    assert not after_a_loss(status, partly, {}, "MIT AND Apache-2.0").allowed
    assert after_a_loss(status, wholly, {}, "MIT AND Apache-2.0").allowed


def test_a_policy_that_is_still_there_decides_anew() -> None:
    assert after_a_loss(refused_by("corporate"), {"corporate": policy(default="Allow")}).allowed


def test_what_was_refused_of_another_license_says_nothing() -> None:
    assert after_a_loss(refused_by("gone", license_id="MIT")).reason == "NoPolicy"


def test_a_status_can_close_but_never_open() -> None:
    forged = {"license": {"id": "Apache-2.0", "decision": "Allow", "policy": "corporate", "approval": "la-1"}}

    assert not after_a_loss(forged, {"corporate": policy("Deny", "Apache-2.0")}).allowed
