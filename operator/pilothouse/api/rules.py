"""CEL rules, declared beside the field or model that they hold.

The API server enforces them, so a manifest is refused before it is stored; the generator (`crd.py`) copies
them into the CRD as `x-kubernetes-validations`. Pydantic carries them and does not evaluate them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ConfigDict, GetJsonSchemaHandler
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS: Final = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """One CEL rule: an annotation of a field, or passed to `ruled` for a whole model.

    `field` is the JSON path, below the ruled object, that the API server names in its answer (`.license.id`).
    """

    rule: str
    message: str
    field: str | None = None

    def added_to(self, schema: JsonSchemaValue) -> JsonSchemaValue:
        """Give `schema` with this rule after those that it has."""
        return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, []), self.as_json()]}

    def as_json(self) -> JsonDict:
        """Give the rule as the CRD has it."""
        said: JsonDict = {"rule": self.rule, "message": self.message}
        return said if self.field is None else {**said, "fieldPath": self.field}

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return self.added_to(handler(core))


def ruled(*rules: Rule) -> ConfigDict:
    """Give the `model_config` of a model whose fields must agree with each other."""
    return ConfigDict(json_schema_extra=_adding(rules))


def _adding(rules: tuple[Rule, ...]) -> Callable[[JsonDict], None]:
    def add(schema: JsonDict) -> None:
        schema[VALIDATIONS] = [rule.as_json() for rule in rules]

    return add


def list_map(*keys: str) -> JsonDict:
    """Make a list a map keyed by `keys`: duplicates are refused and server-side apply merges by key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: Final[JsonDict] = {"x-kubernetes-list-type": "set"}
"""Make a list a set: duplicates are refused."""
