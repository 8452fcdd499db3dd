"""The three families serve from their examples under the example policies, if legal lets them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

from e2e.families import EXAMPLES, fill_in_the_middle, manifests
from e2e.team import Team
from harness.shell import HarnessError, wait_for
from pilothouse.names import Header, Reason

# The example policy denies what it does not name, and so what other tests serve.
pytestmark = pytest.mark.alone

Object = dict[str, Any]

GATED = ("deepseek-coder", "starcoder2")
FAMILIES = (*GATED, "qwen2.5-coder")
RULES = ("queue-classes.yaml", "license-policy.yaml")
APPROVALS = ("license-approval.yaml", "families/license-approvals.yaml")
TASK = "Write a function that adds two numbers."


@pytest.fixture(scope="module", autouse=True)
def _rules(kubectl: Callable[..., str], team: Team) -> Iterator[None]:
    """The example lanes and the example policy, while there is an operator."""
    assert team.lane
    yield from _applied(kubectl, RULES)


@pytest.fixture(scope="module")
def _approvals(kubectl: Callable[..., str]) -> Iterator[None]:
    yield from _applied(kubectl, APPROVALS)


@pytest.fixture(scope="module")
def all_served(team: Team, _approvals: None) -> dict[str, list[Object]]:
    """The models of each family, for completion and for synthesis, ready."""
    families = {family: manifests(family, team.namespace) for family in FAMILIES}
    models = [model for family in families.values() for model in family]
    team.apply(*models)
    team.wait_ready(*(model["metadata"]["name"] for model in models))
    return families


@pytest.fixture(params=FAMILIES)
def served(request: pytest.FixtureRequest, all_served: dict[str, list[Object]]) -> list[Object]:
    """The models of one family."""
    return all_served[request.param]


@pytest.mark.parametrize("family", GATED)
def test_a_gated_family_gets_no_pod_before_legal_has_approved(team: Team, family: str) -> None:
    models = manifests(family, team.namespace)
    names = [model["metadata"]["name"] for model in models]
    team.apply(*models)

    for name in names:
        team.wait_reason(name, Reason.LICENSE_APPROVAL_REQUIRED)
        assert not team.children(name)
    team.kubectl("delete", "md", *names)


def test_the_research_license_of_qwens_3b_is_refused_with_the_rules_reason(team: Team) -> None:
    [model] = manifests("qwen2.5-coder-3b", team.namespace)
    wait_for("the API server to have read the policy", lambda: _refusal(team, model) is not None)

    assert "non-commercial" in str(_refusal(team, model))


def test_a_3b_under_the_license_of_its_siblings_is_stopped_by_its_own_card(team: Team) -> None:
    [model] = manifests("qwen2.5-coder-3b", team.namespace)
    model["spec"]["model"]["license"] = {"id": "Apache-2.0"}
    team.apply(model)

    team.wait_reason("qwen-coder-3b", Reason.LICENSE_MISMATCH)
    assert "qwen-research" in team.condition("qwen-coder-3b")["message"]
    team.kubectl("delete", "md", "qwen-coder-3b")
    team.wait_gone("qwen-coder-3b")


async def test_the_base_model_fills_in_what_the_page_tells_clients_to_send(
    served: list[Object], gateway_url: str
) -> None:
    model = _in_lane(served, "completion")
    body = fill_in_the_middle(model["spec"]["model"]["name"])

    answer = await _answer(gateway_url, model, "completions", body)
    assert answer["choices"][0]["text"]


async def test_the_model_for_synthesis_writes_by_chat_where_it_has_a_template(
    served: list[Object], gateway_url: str
) -> None:
    model = _in_lane(served, "synthesis")
    chat = {"messages": [{"role": "user", "content": TASK}]}
    name = model["spec"]["model"]["name"]
    path, prompt = ("chat/completions", chat) if "instruct" in name else ("completions", {"prompt": TASK})

    answer = await _answer(gateway_url, model, path, {"model": name, "max_tokens": 64} | prompt)
    assert answer["usage"]["completion_tokens"]


def test_the_license_that_let_it_through_is_in_the_condition(served: list[Object], team: Team) -> None:
    for model in served:
        condition = team.condition(model["metadata"]["name"], "LicenseAccepted")
        gated = model["spec"]["model"]["license"]["id"] != "Apache-2.0"
        assert condition["reason"] == (Reason.LICENSE_APPROVED if gated else Reason.LICENSE_ALLOWED)


def _applied(kubectl: Callable[..., str], files: tuple[str, ...]) -> Iterator[None]:
    named = [f"--filename={EXAMPLES / file}" for file in files]
    kubectl("apply", "--validate=strict", *named)
    yield
    kubectl("delete", *named)


def _refusal(team: Team, model: Object) -> str | None:
    """What the API server says if it does not take the model."""
    try:
        team.kubectl("apply", "--dry-run=server", "--filename=-", stdin=json.dumps(model))
    except HarnessError as refused:
        return str(refused)
    return None


def _in_lane(models: list[Object], lane: str) -> Object:
    [found] = [model for model in models if model["spec"]["queueClassName"] == lane]
    return found


async def _answer(gateway_url: str, model: Object, path: str, body: Object) -> Object:
    """Ask through the gateway, and see that the answer says under which license it was made."""
    declared = model["spec"]["model"]
    url = f"{gateway_url}{model['spec']['route']['pathPrefix']}/v1/{path}"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        answer.raise_for_status()
        assert answer.headers[Header.LICENSE_ID] == declared["license"]["id"]
        assert answer.headers[Header.MODEL_REVISION] == declared["checkpoint"]["revision"]
        found: Object = await answer.json()
        return found
