"""No prompt, no answer and no secret is told: they are planted, and all that tells is searched for them."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from e2e.hub import Repository
from e2e.installed import Operator
from e2e.manifests import MODEL, Object, queue_class
from e2e.team import Team
from e2e.traffic import ask
from harness import logs
from harness.shell import HarnessError, wait_for
from pilothouse.names import HF_TOKEN_KEY, Header, Reason

WORD = "planted7c1d0e5b92"
"""Stands in every prompt, and in every field of a request that takes a text."""
CREDENTIAL = "ghp" + "_Pilothouse0Made1Up2Example3Token4Pil"
KIND = "github-personal-access-token"
TOKEN, REFUSED_TOKEN = "hf_opensThisOneOfTheTests", "hf_opensNothingOfTheTests"

PROMPT = f"def {WORD}(key='{CREDENTIAL}'):"
MESSAGES = [{"role": "system", "content": WORD}, {"role": "user", "content": PROMPT}]
BODIES: dict[str, Object | str] = {
    "whole": ask(prompt=PROMPT, max_tokens=64),
    "streamed": ask(prompt=PROMPT, max_tokens=64, stream=True),
    "several": ask(prompt=[WORD, PROMPT], n=2, stop=[WORD], user=WORD, echo=True),
    "chat": {"model": MODEL, "messages": MESSAGES, "ignore_eos": True, "max_tokens": 64},
    "left": ask(prompt=PROMPT, max_tokens=4096, stream=True),
    "too-long": ask(prompt=f"{WORD} " * 4096),
    "another-model": ask(prompt=PROMPT, model=WORD),
    "no-number": ask(prompt=PROMPT, temperature=WORD),
    "suffix": ask(prompt=PROMPT, suffix=WORD),
    "template": {"model": MODEL, "messages": MESSAGES, "chat_template": WORD},
    "no-json": f'{{"prompt": "{PROMPT}',
    "trace": ask(prompt=PROMPT),
}
"""What is asked for by everybody; half of it is refused, at one place or another."""
HEADERS = {
    "Authorization": f"Bearer {WORD}",
    "Cookie": WORD,
    "Content-Type": "application/json",
    "User-Agent": WORD,
}
SCANS = {"reporting": "Report", "rejecting": "Reject"}
KINDS = "configmaps,controllerrevisions,deployments,events,httproutes,md,pods,replicasets,services"


@dataclass
class Heard:
    """What callers heard: statuses, the guard's ids of requests, and words that stood in answers."""

    statuses: dict[tuple[str, str], int] = field(default_factory=dict)
    ids: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """None where the guard did not answer."""
    words: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def repository(hub_url: str) -> Repository:
    """A gated repository that one token opens."""
    made = Repository.fresh(hub_url)
    made.fault(gated=True, token=TOKEN)
    return made


@pytest.fixture(scope="module")
def served(team: Team, repository: Repository) -> Iterator[Team]:
    """A model whose lane reports credentials, one whose lane refuses them, one that can't be fetched."""
    for name, token in (("right", TOKEN), ("wrong", REFUSED_TOKEN)):
        team.kubectl("create", "secret", "generic", name, f"--from-literal={HF_TOKEN_KEY}={token}")
    right, wrong = (repository.pinned(secretRef={"name": name}) for name in ("right", "wrong"))
    lanes = {name: f"{team.namespace}-{name}" for name in SCANS}
    for name, lane in lanes.items():
        requests = {"maxInputTokens": 1024, "maxOutputTokens": 4096, "timeout": "60s"}
        team.apply(queue_class(lane, requests=requests | {"secretScan": SCANS[name]}))
        team.apply(team.model(name, model=right, queueClassName=lane))
    team.apply(team.model("closed", model=wrong))
    team.wait_reason("closed", Reason.HUB_ACCESS_DENIED)
    team.wait_ready(*SCANS)
    yield team
    team.kubectl("delete", "queueclass", *lanes.values(), "--wait=false")


@pytest.fixture(scope="module")
def heard(served: Team, gateway_url: str) -> Heard:
    """Ask for everything, of both models."""
    heard = Heard()

    async def call_all() -> None:
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as calls:
            for name in SCANS:
                url = f"{gateway_url}/{served.namespace}/{name}/v1"
                for kind, body in BODIES.items():
                    calls.create_task(call(http, url, (name, kind), body, heard))

    asyncio.run(call_all())
    return heard


async def call(
    http: aiohttp.ClientSession, url: str, what: tuple[str, str], body: Object | str, heard: Heard
) -> None:
    """Ask, and keep of the answer its status and its longest word."""
    path = "chat/completions" if "messages" in body else "completions"
    data = body if isinstance(body, str) else json.dumps(body)
    headers = HEADERS | ({Header.PACKING_TRACE: WORD} if "trace" in what else {})
    query = {"key": CREDENTIAL, "prompt": WORD}
    async with http.post(f"{url}/{path}", data=data, headers=headers, params=query) as answer:
        heard.statuses[what] = answer.status
        heard.ids[what] = answer.headers.get(Header.REQUEST_ID)
        if "left" in what:
            await answer.content.readline()
            return
        text = await answer.text()
    if answer.ok and {"whole", "chat"} & {*what}:
        [choice] = json.loads(text)["choices"]
        said = choice["message"]["content"] if "chat" in what else choice["text"]
        heard.words.add(max(re.findall(r"\w+", said), key=len))


def log_of(team: Team, pod: Object) -> str:
    """What the containers of a pod have logged that have begun."""
    statuses = [*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"]]
    begun = [status["name"] for status in statuses if "containerID" in status]
    name = pod["metadata"]["name"]
    return "\n".join(team.kubectl("logs", name, f"--container={container}") for container in begun)


def generations(team: Team, name: str) -> list[Object]:
    """The guard's lines about a model of one pod."""
    [pod] = team.pods(name)
    return logs.generations(log_of(team, pod))


def wait_logged(team: Team, name: str, heard: Heard) -> None:
    """Wait until the guard has told of all that it was asked; raises HarnessError with what is missing."""

    def missing() -> list[str]:
        told = {line["requestId"] for line in generations(team, name)}
        return [kind for kind in BODIES if heard.ids[name, kind] not in told]

    try:
        wait_for("every generation to be logged", lambda: not missing())
    except HarnessError as error:
        raise HarnessError(f"{error} Missing of {name}: {', '.join(missing())}.") from error


@pytest.fixture(scope="module")
def told(served: Team, heard: Heard, operator: Operator) -> dict[str, str]:
    """Everything that is told of the models, once every generation is."""
    assert len(heard.ids) == len(SCANS) * len(BODIES)
    assert all(heard.ids.values()), heard.statuses
    for name in SCANS:
        wait_logged(served, name, heard)
    found = {
        "the operator's log": "\n".join(operator.log()),
        "the operator's metrics": "\n".join(operator.metrics()),
        "objects": served.kubectl("get", KINDS, "--output=json"),
    }
    for pod in (pod for name in (*SCANS, "closed") for pod in served.pods(name)):
        found[f"log of {pod['metadata']['name']}"] = log_of(served, pod)
    for pod in (pod for name in SCANS for pod in served.pods(name)):
        name = pod["metadata"]["name"]
        for path in ("metrics", "pilothouse/about"):
            proxied = f"/api/v1/namespaces/{served.namespace}/pods/{name}:8000/proxy/{path}"
            found[f"{path} of {name}"] = served.kubectl("get", "--raw", proxied)
    return found


@pytest.mark.usefixtures("told")
def test_what_was_planted_arrived(heard: Heard, served: Team) -> None:
    assert {heard.statuses["reporting", kind] for kind in ("whole", "streamed", "chat")} == {200}
    assert {heard.statuses["rejecting", kind] for kind in ("whole", "streamed", "chat")} == {400}
    assert all(len(word) >= 8 for word in heard.words)
    for name in SCANS:
        assert any(line.get("credentials") == {KIND: 1} for line in generations(served, name))


@pytest.mark.parametrize("secret", [WORD, CREDENTIAL, TOKEN, REFUSED_TOKEN])
def test_no_prompt_and_no_secret_is_told(told: dict[str, str], secret: str) -> None:
    assert [place for place, text in told.items() if secret in text] == []


def test_no_answer_is_told(told: dict[str, str], heard: Heard) -> None:
    assert [(place, word) for place, text in told.items() for word in heard.words if word in text] == []


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("name", SCANS)
def test_every_generation_has_one_line_whatever_was_wrong_with_it(served: Team, name: str) -> None:
    ids = [line["requestId"] for line in generations(served, name)]

    assert len(ids) == len(set(ids)) == len(BODIES)
