"""What model cards call a license: the hub's own words, where the spec declares an SPDX id.

A card says `license: apache-2.0`, or `license: other` with a `license_name` of the author's choice.
"""

from typing import Final

from pilothouse.errors import MalformedExpression
from pilothouse.plan.spdx import licenses, parse

_REF: Final = "licenseref-"

REFERENCES: Final = {
    "LicenseRef-DeepSeek": ("deepseek", "deepseek-license"),
    "LicenseRef-BigCode-OpenRAIL-M": ("bigcode-openrail-m",),
    "LicenseRef-Qwen-Research": ("qwen-research",),
}
"""By id; any other `LicenseRef-X` is called `x`, any SPDX id by itself."""

_NAMES: Final = {reference.casefold(): called for reference, called in REFERENCES.items()}


def card_names(license_id: str) -> tuple[str, ...]:
    """Return the names, in lower case, of which a card must have one; those of all parts of an expression.

    What is no expression has no names, and is never served.
    """
    try:
        parts = tuple(licenses(parse(license_id)))
    except MalformedExpression:
        return ()
    return tuple(dict.fromkeys(name for part in parts for name in _names(part.names)))


def _names(forms: tuple[str, ...]) -> tuple[str, ...]:
    folded = [form.casefold() for form in forms]
    return tuple(name for form in folded for name in _NAMES.get(form, (form.removeprefix(_REF),)))
