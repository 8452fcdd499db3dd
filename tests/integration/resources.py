"""Where the API server keeps the kinds of Pilothouse."""

from harness.api import Object
from pilothouse.api.definitions import DEFINITIONS
from pilothouse.names import GROUP, VERSION

KINDS = {definition.name: definition for definition in DEFINITIONS}


def collection(manifest: Object) -> str:
    """The path of the objects of this one's kind and, where it has one, namespace."""
    kind = KINDS[manifest["kind"]]
    scope = f"namespaces/{manifest['metadata'].get('namespace', 'default')}/" if kind.namespaced else ""
    return f"/apis/{GROUP}/{VERSION}/{scope}{kind.plural}"
