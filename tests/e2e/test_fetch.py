"""What is pinned is there and as declared before an engine starts, or the condition says what is wrong."""

from collections.abc import Callable

import pytest

from e2e.hub import Repository
from e2e.manifests import Object
from e2e.team import Team
from harness.shell import wait_for
from pilothouse.names import HF_TOKEN_KEY, Reason

MIB = 1 << 20
SIZE, RATE = 96 * MIB, 8 * MIB
TOKEN, WRONG_TOKEN = "hf_opensThisOne", "hf_opensNothing"

Repositories = dict[str, Repository]


@pytest.fixture(scope="module")
def repositories(team: Team, hub_url: str) -> Repositories:
    """A repository for each test, with what is wrong with it, and a model from each."""
    faults: dict[str, Object] = {
        "other-license": {"license": "mit"},
        "slow": {"weights": SIZE, "slow": RATE},
        "down": {"down": True},
        "closed": {"gated": True, "token": TOKEN},
    }
    made = {name: Repository.fresh(hub_url) for name in faults}
    for name, fault in faults.items():
        made[name].fault(**fault)
    team.kubectl("create", "secret", "generic", "hub", f"--from-literal={HF_TOKEN_KEY}={WRONG_TOKEN}")
    pins = {name: repository.pinned() for name, repository in made.items()}
    pins["closed"] = made["closed"].pinned(secretRef={"name": "hub"})
    team.apply(*(team.model(name, model=pinned) for name, pinned in pins.items()))
    return made


def seen(team: Team, name: str, holds: Callable[[Object], bool]) -> Object:
    """Wait until the progress of a model's fetch makes it hold, and return it."""
    found: list[Object] = []

    def look() -> bool:
        found.append(team.get("md", name).get("status", {}).get("fetch", {}))
        return bool(found[-1]) and holds(found[-1])

    wait_for(f"the fetch of {name} to go on", look, seconds=60)
    return found[-1]


def test_the_progress_of_a_download_is_in_the_status(repositories: Repositories, team: Team) -> None:
    begun = seen(team, "slow", lambda fetch: 0 < fetch["bytes"] < SIZE)
    assert begun["phase"] == "Downloading"
    assert begun["totalBytes"] > SIZE
    assert begun["bytesPerSecond"] > 0

    seen(team, "slow", lambda fetch: fetch["bytes"] > begun["bytes"])
    assert team.condition("slow")["reason"] == Reason.FETCHING
    assert "MiB of 96" in team.condition("slow")["message"]
    team.wait_ready("slow")
    assert "fetch" not in team.get("md", "slow")["status"]
    assert repositories["slow"].name


def test_a_card_that_names_another_license_lets_no_engine_start(
    repositories: Repositories, team: Team
) -> None:
    team.wait_reason("other-license", Reason.LICENSE_MISMATCH)

    assert repositories["other-license"].name in team.condition("other-license")["message"]
    assert "mit" in team.condition("other-license")["message"]
    assert not team.engine_started("other-license")


def test_a_hub_that_is_down_is_said_and_what_it_held_up_goes_on_when_it_is_back(
    repositories: Repositories, team: Team
) -> None:
    team.wait_reason("down", Reason.HUB_UNAVAILABLE)
    assert not team.engine_started("down")

    repositories["down"].heal()
    team.wait_ready("down")


def test_a_token_that_the_hub_refuses_is_said_and_never_shown(repositories: Repositories, team: Team) -> None:
    team.wait_reason("closed", Reason.HUB_ACCESS_DENIED)
    assert repositories["closed"].name in team.condition("closed")["message"]
    assert not team.engine_started("closed")

    right = f"--from-literal={HF_TOKEN_KEY}={TOKEN}"
    rewritten = team.kubectl("create", "secret", "generic", "hub", right, "--dry-run=client", "--output=json")
    team.kubectl("apply", "--filename=-", stdin=rewritten)
    team.wait_ready("closed")
