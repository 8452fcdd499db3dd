"""What a decision reads: the license of the canary alone, commands once, tests of the pods that live."""

from dataclasses import replace
from typing import Any

import pytest

from builders import OTHER_COMMIT, observed
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.names import Reason, Verb
from pilothouse.plan.decision import Situation
from pilothouse.plan.license import declared_pins, license_verdict
from pilothouse.plan.revision import revisions_of
from pilothouse.plan.situation import Canary, command_about, policy_of, situation_of
from rollout_scene import Scene, policy, scene

NEW = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def begun(**fields: Any) -> Scene:
    """A rollout that has just begun."""
    return scene(**fields).edit(NEW).reach(lambda now: now.canary is not None)


def seen_by(scene: Scene, **otherwise: Any) -> Situation:
    """What the next decision reads, where some things are seen otherwise."""
    scene.look()
    seen, revisions = replace(scene.seen, **otherwise), revisions_of(scene.seen)
    canary = revisions[scene.target]
    under_way = Canary(revisions[scene.stable], canary, canary)
    return situation_of(seen, under_way, license_verdict(seen, declared_pins(seen.deployment)))[0]


def test_a_policy_that_is_gone_leaves_the_built_in_one_to_judge_by() -> None:
    assert policy_of(observed(policy=None)) == BUILT_IN
    assert policy_of(observed(policy=policy())) == policy()


@pytest.mark.parametrize("license_id", ["Apache-2.0", "MIT"])
def test_a_license_that_is_denied_speaks_against_the_canary_that_declares_it(license_id: str) -> None:
    rolling = begun()
    deny = {"default": "Allow", "rules": [{"ids": [license_id], "decision": "Deny", "reason": "no"}]}
    rolling.change(license_policies={"strict": LicensePolicySpec.model_validate(deny)})

    denial = seen_by(rolling).denial
    assert (denial.reason if denial else None) == (
        Reason.LICENSE_DENIED if license_id == "Apache-2.0" else None
    )


def test_a_denied_license_of_another_spec_says_nothing_of_the_canary() -> None:
    rolling = begun()
    canary = rolling.target
    deny = {"default": "Allow", "rules": [{"ids": ["MIT"], "decision": "Deny", "reason": "no"}]}
    rolling.edit({"model": {"license": {"id": "MIT"}}})
    rolling.change(license_policies={"strict": LicensePolicySpec.model_validate(deny)})

    revisions = revisions_of(rolling.seen)
    under_way = Canary(revisions[rolling.stable], revisions[canary], None)
    verdict = license_verdict(rolling.seen, declared_pins(rolling.seen.deployment))
    assert situation_of(rolling.seen, under_way, verdict)[0].denial is None


def test_a_command_is_read_until_it_was_carried_out() -> None:
    rolling = begun()
    rolling.say(f"pause/{rolling.target}")
    command = command_about(rolling.seen, rolling.target)

    assert command
    assert command.verb is Verb.PAUSE
    assert command_about(rolling.seen, rolling.stable) is None
    rolling.step()
    assert command_about(rolling.seen, rolling.target) is None


def test_a_preflight_is_awaited_only_where_the_policy_asks_for_one() -> None:
    tested, untested = begun(), begun(policy=policy(steps=[{"weight": 10, "hold": "1s"}]))

    assert len(seen_by(tested, preflights={}).preflight.pending) == 1
    assert seen_by(untested, preflights={}).preflight.pending == ()


def test_stable_is_down_since_its_deployment_says_so() -> None:
    rolling = begun()
    assert seen_by(rolling).stable_down_since is None

    rolling.behaves(rolling.stable, healthy=False).step()
    since = rolling.seen.now
    assert (seen_by(rolling.run(5)).stable_down_since or since) < since
