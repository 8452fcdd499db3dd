"""What must hold for the repository as a whole: layout, generated files, locks, documentation."""

import ast
import itertools
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from pilothouse import __version__, names

REPOSITORY = Path(__file__).parents[2]
LOCKS = sorted((REPOSITORY / "requirements").glob("*.txt"))
GUIDE = REPOSITORY / "docs/guide.md"
SCENARIOS = REPOSITORY / "docs/scenarios.md"


def _documents(folder: str) -> list[dict[str, object]]:
    files = sorted((REPOSITORY / folder).rglob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def _reason_sentences() -> dict[str, str]:
    """Return the docstring of each Reason, by its value."""
    tree = ast.parse(Path(names.__file__).read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Reason")
    pairs = itertools.pairwise(body)
    return {
        ast.literal_eval(member.value): " ".join(ast.literal_eval(text.value).split())
        for member, text in pairs
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr)
    }


def test_operator_is_a_source_root_and_never_a_package() -> None:
    assert not (REPOSITORY / "operator" / "__init__.py").exists()


def test_the_chart_installs_the_generated_crds() -> None:
    assert (REPOSITORY / "charts/pilothouse/crds").resolve() == REPOSITORY / "crds"


def test_a_crd_has_no_empty_map_that_the_api_server_would_drop() -> None:
    crds = (REPOSITORY / "crds").iterdir()

    assert [file.name for file in crds if "properties: {}" in file.read_text()] == []


def test_the_chart_has_the_version_of_the_operator() -> None:
    chart = yaml.safe_load((REPOSITORY / "charts/pilothouse/Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()

    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text))


def test_everything_that_ships_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    shipped = {re.split(r"[>=<]", requirement)[0] for requirement in project["dependencies"]}
    locked = set(
        re.findall(r"^([a-z0-9-]+)==", (REPOSITORY / "requirements/operator.txt").read_text(), re.MULTILINE)
    )

    assert shipped <= locked


def test_every_reason_has_a_sentence() -> None:
    assert set(_reason_sentences()) == set(names.Reason)


def test_the_guide_explains_every_reason_in_its_own_words() -> None:
    table = GUIDE.read_text().partition("<!-- reasons -->")[2].partition("<!-- end of reasons -->")[0]

    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE)) == _reason_sentences()


def test_make_help_names_every_target_that_a_person_calls() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)) - {"lint"}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout

    assert targets == {line.split()[0] for line in shown.splitlines()}


def test_every_example_has_a_kind_and_a_name() -> None:
    documents = _documents("examples")

    assert documents
    assert all(document["kind"] and document["metadata"]["name"] for document in documents)


def test_every_test_that_the_scenarios_name_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", SCENARIOS.read_text())
    tests = REPOSITORY / "tests"

    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in (tests / file).read_text()] == []


def test_the_scenarios_are_all_there_and_each_once() -> None:
    ids = re.findall(r"^\| ([A-Z]\d+) \|", SCENARIOS.read_text(), re.MULTILINE)

    assert len(ids) == len(set(ids)) == 62


def test_every_link_in_the_docs_leads_somewhere() -> None:
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)[)#]", page.read_text())]

    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
