"""What model cards call a license: the hub's own words, where the spec declares an SPDX id.

A card says `license: apache-2.0`, or `license: other` with a `license_name` of the author's choice.
"""

from typing import Final

from pilothouse.plan.spdx import MalformedExpression, licenses, parse

_REF: Final = "licenseref-"

_NAMES: Final = {
    "licenseref-deepseek": ("deepseek", "deepseek-license"),
    "licenseref-bigcode-openrail-m": ("bigcode-openrail-m",),
    "licenseref-qwen-research": ("qwen-research",),
}
"""By id, in lower case; any other `LicenseRef-X` is called `x`, any SPDX id by itself."""


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
