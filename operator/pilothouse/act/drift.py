"""Whether a live object still has every field that was asked for.

Fields that nobody asked for are left alone: defaults of the API server, other people's labels. But for lists
and maps that the API replaces as a whole, where one entry more changes what the others mean.
"""

from collections.abc import Iterator
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from pilothouse.plan.observed import Object

_LIST_KEYS: Final = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "ports": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists that the API merges by a key: others may add entries of their own."""

_WHOLE_MAPS: Final = frozenset({"selector", "matchLabels", "nodeSelector"})
"""Maps that the API replaces as a whole: one label more in a Service's selector and no pod matches."""

_QUANTITIES: Final = frozenset({"requests", "limits", "sizeLimit", "hard"})


def drift(desired: Object, live: Object) -> list[str]:
    """Name the fields (`spec.containers[engine].image`) that the live object lacks or has otherwise."""
    return list(_differences(desired, live, "", ""))


def _differences(desired: Any, live: Any, path: str, field: str) -> Iterator[str]:  # noqa: ANN401 -- JSON
    if desired == live or (_is_empty(desired) and _is_empty(live)):
        return
    if isinstance(desired, dict) and isinstance(live, dict):
        yield from _map_differences(desired, live, path, field)
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _list_differences(desired, live, path, field)
    elif field not in _QUANTITIES or not _are_one_quantity(desired, live):
        yield path


def _map_differences(desired: Object, live: Object, path: str, field: str) -> Iterator[str]:
    if field in _WHOLE_MAPS:
        yield from (f"{path}.{key}" for key in sorted(live.keys() - desired.keys()))
    inner = field if field in _QUANTITIES else None
    for key, value in desired.items():
        yield from _differences(value, live.get(key), f"{path}.{key}".removeprefix("."), inner or key)


def _list_differences(desired: list[Any], live: list[Any], path: str, field: str) -> Iterator[str]:
    keys = _LIST_KEYS.get(field)
    if keys and _have_identities(desired, keys) and _have_identities(live, keys):
        present = {_identity(item, keys): item for item in live}
        for item in desired:
            identity = _identity(item, keys)
            yield from _differences(item, present.get(identity), f"{path}[{','.join(identity)}]", "")
    elif len(desired) != len(live):
        yield path
    else:
        for index, (wanted, found) in enumerate(zip(desired, live, strict=True)):
            yield from _differences(wanted, found, f"{path}[{index}]", "")


def _have_identities(items: list[Any], keys: tuple[str, ...]) -> bool:
    if not all(isinstance(item, dict) for item in items):
        return False
    return len({_identity(item, keys) for item in items}) == len(items)


def _identity(item: Object, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(item.get(key, "")) for key in keys)


def _is_empty(value: Any) -> bool:  # noqa: ANN401 -- JSON
    """Tell whether the API server may leave the field out when it answers."""
    return value is None or value is False or value in ("", 0, {}, [])


def _are_one_quantity(desired: Any, live: Any) -> bool:  # noqa: ANN401 -- JSON
    """Compare as quantities: `1000m` of CPU comes back as `1`."""
    try:
        return bool(parse_quantity(desired) == parse_quantity(live))  # type: ignore[no-untyped-call]
    except ValueError:
        return False
