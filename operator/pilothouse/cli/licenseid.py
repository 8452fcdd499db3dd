"""What a manifest declares where a model card calls its license by the hub's own words.

The way back from `plan.licensenames`: whatever is returned here has the card's word among its names, so that
the fetch agrees with it.
"""

import re
from collections.abc import Iterator
from typing import Final

from license_expression import get_license_index  # type: ignore[import-untyped]

from pilothouse.plan.licensenames import REFERENCES, card_names

_OWN: Final = "LicenseRef-"
"""Begins the ids that the library made up where SPDX has none."""
_NAME: Final = re.compile(r"[A-Za-z0-9.-]+")


def license_id_of(called: str | None) -> str | None:
    """Return the SPDX id, or the LicenseRef where SPDX has none; None where the card names no license.

    `called` is the card's `license`, or its `license_name` where that is `other`.
    """
    word = (called or "").casefold()
    if not _NAME.fullmatch(word) or word == "other":
        return None
    reference = next((each for each in REFERENCES if word in card_names(each)), None)
    return reference or _spdx(word) or f"LicenseRef-{word}"


def _spdx(word: str) -> str | None:
    """Return the id in SPDX's own letters; cards use deprecated ones too, such as `gpl-3.0`."""
    return next((key for key in _keys() if key.casefold() == word), None)


def _keys() -> Iterator[str]:
    for entry in get_license_index():
        if not entry["is_exception"]:
            keys = [entry.get("spdx_license_key"), *entry.get("other_spdx_license_keys", [])]
            yield from (key for key in keys if key and not key.startswith(_OWN))
