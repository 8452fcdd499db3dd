import base64
import json
import random
import re
import uuid
from collections.abc import Iterator
from hashlib import sha1, sha512
from pathlib import Path
from typing import Any

import pytest

from pilothouse.guard.pilothouse_guard import Scanner

REPOSITORY = Path(__file__).parents[3]
RULES: list[dict[str, Any]] = json.loads(
    (REPOSITORY / "operator/pilothouse/guard/credentials.json").read_text()
)
SCANNER = Scanner(RULES)
IN_CODE = (
    "client = Client({})\n",
    'TOKEN = "{}"  # of the build\n',
    "curl -H 'Authorization: Bearer {}' https://api.example.org/v1/models\n",
    "    password: {}\n",
    "const config = {{ token: `{}` }};\n",
)

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"])


def example(rule: dict[str, Any]) -> str:
    """Return the made-up credential; it is kept in parts, so that no scanner takes it for a real one."""
    return "".join(rule["example"])


@each_rule
def test_the_example_is_found_as_its_kind(rule: dict[str, Any]) -> None:
    assert SCANNER.kinds(example(rule))[rule["kind"]] == 1


@each_rule
@pytest.mark.parametrize("code", IN_CODE)
def test_the_example_is_found_inside_code(rule: dict[str, Any], code: str) -> None:
    assert rule["kind"] in SCANNER.kinds(f"import os\n\n{code.format(example(rule))}print(os.getcwd())\n")


@each_rule
def test_every_one_of_several_is_counted(rule: dict[str, Any]) -> None:
    assert SCANNER.kinds(f"{example(rule)}\n\n" * 3)[rule["kind"]] == 3


@each_rule
def test_the_example_without_its_end_is_no_credential(rule: dict[str, Any]) -> None:
    assert rule["kind"] not in SCANNER.kinds(rule["example"][0])


@each_rule
def test_a_rule_names_where_it_comes_from(rule: dict[str, Any]) -> None:
    source, notice = rule["source"], (REPOSITORY / "NOTICE").read_text()

    assert rule["licence"] == {"secretlint": "MIT"}.get(source["project"], "Apache-2.0")
    assert source["rule"]
    assert source["project"] == "Pilothouse" or f"{source['project']} {source['version']}" in notice


@each_rule
def test_a_rule_repeats_nothing_without_bound(rule: dict[str, Any]) -> None:
    signs = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "a", rule["pattern"])

    assert not re.search(r"[*+]|\{\d+,\}", signs)


@each_rule
def test_literals_are_what_the_scan_compares_with_folded_text(rule: dict[str, Any]) -> None:
    assert rule["literals"] == [literal.lower() for literal in rule["literals"]]
    assert any(literal in example(rule).lower() for literal in rule["literals"])


def test_kinds_are_unique() -> None:
    kinds = [rule["kind"] for rule in RULES]

    assert sorted(kinds) == sorted(set(kinds))


def hostile(rule: dict[str, Any]) -> Iterator[str]:
    """Yield beginnings of the credential, which a pattern tries again at each repetition."""
    text = example(rule)
    yield from (text[:length] for length in {1, 4, 8, 16, len(text) // 2, len(text) - 1, len(text)})
    yield from (rule["example"][0], rule["literals"][0], rule["literals"][0].upper())
    yield from "Aa0 \n-=/"


@each_rule
@pytest.mark.parametrize("size", [100_000, 200_000])
def test_a_hostile_prompt_is_scanned_in_linear_time(rule: dict[str, Any], size: int) -> None:
    """Quadratic time would exceed the time limit of a test by far: each of these is repeated in 200 kB."""
    pattern = re.compile(rule["pattern"])

    for seed in hostile(rule):
        text = (seed * (size // len(seed) + 1))[:size]
        assert sum(1 for _ in pattern.finditer(text)) <= size // 8


def _lines(count: int, line: str) -> str:
    return "\n".join(line.format(number) for number in range(count))


RANDOM = random.Random(7)  # noqa: S311 -- the same in every run


def _image() -> str:
    return base64.b64encode(RANDOM.randbytes(20_000)).decode()


PROMPTS = {
    "identifiers": _lines(200, "id_{0} = 'f81d4fae-7dec-11d0-a765-00a0c91e{0:04x}'"),
    "random identifiers": "\n".join(
        str(uuid.UUID(bytes=RANDOM.randbytes(16), version=4)) for _ in range(500)
    ),
    "commits": "\n".join(sha1(str(n).encode(), usedforsecurity=False).hexdigest() for n in range(500)),
    "lock file": "\n".join(
        f'"integrity": "sha512-{base64.b64encode(sha512(str(n).encode()).digest()).decode()}"'
        for n in range(300)
    ),
    "image": f'<img src="data:image/png;base64,{_image()}">',
    "minified": _lines(
        400, "!function(e,t){{return e.asia_{0}=t?sk(e,{0}):hf_(t[{0}]),e.key=npm_config_{0}}}(e,t);"
    ),
    "prose": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor. " * 1200,
    "names of secrets": (
        "key = os.environ['AWS_SECRET_ACCESS_KEY']\n"
        "aws_secret_access_key = var.secret_access_key\n"
        "headers = {'Authorization': f'Bearer {token}', 'X-Key': settings.OPENAI_API_KEY}\n"
        "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'):\n    return load_pem(line)\n"
        "TWILIO_AUTH_TOKEN=${TWILIO_AUTH_TOKEN}\n"
    ),
    "placeholders": (
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
        "glpat-XXXXXXXXXXXXXXXXXXXX sk-ant-api03-... hf_****** AKIAIOSFODNN7EXAMPLE\n"
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
        "postgres://user:password@localhost:5432/app redis://:${REDIS_PASSWORD}@redis:6379\n"
        "mysql://{user}:{password}@{host}/db https://<user>:<token>@git.example.org/a.git\n"
    ),
    "addresses": (
        "see https://example.org:8443/@scope/package and http://localhost:3000/a:b@c\n"
        "git clone ssh://git@example.org:22/a.git; npm i @types/node@20 https://a.example.org/x:y\n"
    ),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_nothing_is_found_in_a_usual_prompt(prompt: str) -> None:
    assert SCANNER.kinds(prompt) == {}
