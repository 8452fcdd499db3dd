"""From a model card's word to the id that a manifest declares."""

import pytest

from pilothouse.cli.licenseid import license_id_of
from pilothouse.plan.licensenames import REFERENCES, card_names


@pytest.mark.parametrize(
    ("called", "declared"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("mit", "MIT"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("gpl-3.0", "GPL-3.0"),
        ("deepseek", "LicenseRef-DeepSeek"),
        ("deepseek-license", "LicenseRef-DeepSeek"),
        ("bigcode-openrail-m", "LicenseRef-BigCode-OpenRAIL-M"),
        ("qwen-research", "LicenseRef-Qwen-Research"),
        ("llama3.1", "LicenseRef-llama3.1"),
        ("Gemma", "LicenseRef-gemma"),
    ],
)
def test_a_card_s_word_becomes_an_id_that_the_fetch_agrees_with(called: str, declared: str) -> None:
    assert license_id_of(called) == declared
    assert called.casefold() in card_names(declared)


@pytest.mark.parametrize("called", [None, "", "other", "two words", "['mit', 'apache-2.0']"])
def test_what_names_no_license_has_no_id(called: str | None) -> None:
    assert license_id_of(called) is None


def test_every_known_reference_is_found_by_each_of_its_names() -> None:
    assert {license_id_of(name): id_ for id_, names in REFERENCES.items() for name in names} == {
        id_: id_ for id_ in REFERENCES
    }
