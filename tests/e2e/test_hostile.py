"""Ten thousand malformed and hostile requests, through the gateway and past it to the pod, change nothing.

A pod is sent to directly too: that no NetworkPolicy keeps such requests from it is what its guard is for.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from yarl import URL

from e2e.engines import RUNNING, WAITING, counts
from e2e.hostile import Door, Outcome, storm
from e2e.manifests import SMALL, Object, model_deployment
from e2e.team import Team
from e2e.traffic import Steady, steady
from harness.shell import wait_for
from pilothouse.names import ENGINE_PORT

NAME = "coder"
EACH = 5000
BEHIND_THE_GUARD = ("tokenize", "detokenize", "invocations", "v1/embeddings", "docs", "load")
BEHIND_THE_GATEWAY = (*BEHIND_THE_GUARD, "sim/faults", "metrics", "health", "version", "pilothouse/about")
ROOMY = SMALL | {"memory": "1Gi"}
"""Megabytes of many clients at once are a part of the attack; other tests' engines have no room for them."""
DOORS = ("gateway", "pod")


@dataclass(frozen=True)
class Storm:
    """What came of all attacks, by the door that they came to, and of the callers meanwhile."""

    outcomes: Mapping[str, Outcome]
    meanwhile: Steady
    before: Object
    """The engine's pod as it was."""


@pytest.fixture(scope="module")
def stormed(team: Team, gateway_url: str) -> Storm:
    team.apply(model_deployment(NAME, team.namespace, team.lane, resources=ROOMY))
    team.wait_ready(NAME)
    [pod] = team.pods(NAME)
    gateway, prefix = URL(gateway_url), f"/{team.namespace}/{NAME}"
    doors = (
        Door(str(gateway.host), gateway.port or 80, prefix, BEHIND_THE_GATEWAY),
        Door(pod["status"]["podIP"], ENGINE_PORT, "", BEHIND_THE_GUARD),
    )

    async def attack() -> Storm:
        async with steady(f"{gateway_url}{prefix}/v1", rate=2) as meanwhile:
            outcomes = [await storm(door, EACH, seed) for seed, door in enumerate(doors)]
            await meanwhile.until_answered(5)
        return Storm(dict(zip(DOORS, outcomes, strict=True)), meanwhile, pod)

    return asyncio.run(attack())


@pytest.mark.parametrize("door", DOORS)
def test_no_attack_opens_a_closed_path_or_has_a_bad_request_answered(stormed: Storm, door: str) -> None:
    assert stormed.outcomes[door].answers.total() == EACH
    assert not stormed.outcomes[door].opened


@pytest.mark.parametrize("door", DOORS)
def test_every_attack_is_the_clients_fault_and_is_told_so(stormed: Storm, door: str) -> None:
    assert not stormed.outcomes[door].our_faults
    assert not stormed.outcomes[door].kept_waiting


def test_who_calls_meanwhile_loses_nothing(stormed: Storm) -> None:
    assert stormed.meanwhile.answered
    assert not stormed.meanwhile.lost


def test_the_engine_that_was_attacked_serves_on(stormed: Storm, team: Team) -> None:
    [pod] = team.pods(NAME)

    assert pod["metadata"]["uid"] == stormed.before["metadata"]["uid"]
    assert [entry["restartCount"] for entry in pod["status"]["containerStatuses"]] == [0]
    assert team.condition(NAME)["status"] == "True"


def test_who_hung_up_holds_no_place_in_the_engine(stormed: Storm) -> None:
    address = stormed.before["status"]["podIP"]

    def is_idle() -> bool:
        return not any(asyncio.run(counts(address, RUNNING, WAITING)).values())

    wait_for("the engine to have nothing to do", is_idle, pause=0.5)
