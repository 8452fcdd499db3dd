"""`python -m pilothouse.api.crd crds/` writes the CustomResourceDefinitions of the seven kinds.

They are generated from the models, committed, and compared in a test, so that neither drifts from the other.
"""

import sys
from pathlib import Path
from typing import Final

import yaml

from pilothouse import names
from pilothouse.api.common import Object
from pilothouse.api.definitions import DEFINITIONS, Column, Definition
from pilothouse.api.rules import VALIDATIONS
from pilothouse.api.structural import Schema, schema_of, without_defaults

_HEADER: Final = "# Generated from operator/pilothouse/api by `make generate`; do not edit.\n"
_CATEGORY: Final = "pilothouse"
_API_VERSION: Final = {
    "description": f"The version of this object's schema: {names.API_VERSION}.",
    "type": "string",
}
_KIND: Final = {"description": "The kind of this object.", "type": "string"}
_SCALE: Final = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def crd(definition: Definition) -> Object:
    """Give the CustomResourceDefinition of a definition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced" if definition.namespaced else "Cluster",
            "names": _names(definition),
            "versions": [_version(definition)],
        },
    }


def _names(definition: Definition) -> Object:
    return {
        "kind": definition.name,
        "listKind": f"{definition.name}List",
        "plural": definition.plural,
        "singular": definition.name.lower(),
        "shortNames": [definition.short],
        "categories": [_CATEGORY],
    }


def _version(definition: Definition) -> Object:
    scale = {"scale": _SCALE} if definition.scalable else {}
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, **scale},
        "additionalPrinterColumns": [_column(column) for column in definition.columns],
        "schema": {"openAPIV3Schema": root_schema(definition)},
    }


def _column(column: Column) -> Object:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**shown, "priority": 1} if column.wide else shown


def root_schema(definition: Definition) -> Schema:
    """Give the schema of the whole object; of its metadata Kubernetes takes no more than the type."""
    schema = schema_of(definition.model)
    rules = {VALIDATIONS: schema[VALIDATIONS]} if VALIDATIONS in schema else {}
    properties = {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
        "status": without_defaults(schema["properties"]["status"]),
    }
    described = {"description": schema["description"], "type": "object", "required": ["spec"]}
    return {**described, "properties": properties, **rules}


def rendered() -> dict[str, str]:
    """Give each file of `crds/` by its name."""
    return {f"{definition.plural}.yaml": _HEADER + _yaml(crd(definition)) for definition in DEFINITIONS}


def _yaml(obj: Object) -> str:
    return yaml.dump(obj, Dumper=_NoAliases, sort_keys=False, width=110, allow_unicode=True)


class _NoAliases(yaml.SafeDumper):
    """Writes a value that stands in two places twice, so that each reads by itself."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- PyYAML's signature
        return True


def main(folder: Path) -> None:
    """Write every CRD into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
