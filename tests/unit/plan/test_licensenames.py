"""What the card of a model must call its license."""

import pytest

from pilothouse.plan.licensenames import card_names


@pytest.mark.parametrize(
    ("license_id", "names"),
    [
        ("Apache-2.0", ("apache-2.0",)),
        ("LicenseRef-DeepSeek", ("deepseek", "deepseek-license")),
        ("LicenseRef-BigCode-OpenRAIL-M", ("bigcode-openrail-m",)),
        ("licenseref-qwen-research", ("qwen-research",)),
        ("LicenseRef-Llama3", ("llama3",)),
        ("Apache-2.0 OR (MIT AND LicenseRef-Own)", ("apache-2.0", "mit", "own")),
        ("MIT OR MIT", ("mit",)),
    ],
)
def test_a_card_calls_a_license_by_one_of_its_names(license_id: str, names: tuple[str, ...]) -> None:
    assert card_names(license_id) == names


def test_a_license_with_an_exception_may_be_called_by_its_plain_name() -> None:
    assert card_names("GPL-2.0-only WITH Classpath-exception-2.0") == (
        "gpl-2.0-only with classpath-exception-2.0",
        "gpl-2.0-only",
    )


def test_what_is_no_expression_has_no_name() -> None:
    assert card_names("MIT AND") == ()
