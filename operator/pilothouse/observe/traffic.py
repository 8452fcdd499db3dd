"""Puts together who may call what through which Gateway, from the Store."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from pilothouse.api.queueclass import QueueClass
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.kinds import GATEWAY, GATEWAY_CLASS, QUEUE_CLASS, TENANT_QUOTA, Kind
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.traffic import Traffic


def traffic(store: Store) -> Traffic:
    """Look at all Gateways, and at all who call through them."""
    gateways = {key: gateway for key in store.keys(GATEWAY) if (gateway := store.get(key))}
    return Traffic(
        gateways=gateways,
        controllers=controllers(store, gateways),
        parts=gateway_parts(store, gateways),
        models=tuple(store.routed()),
        quotas=tuple(_quotas(store)),
        input_tokens=dict(_input_tokens(store)),
        served_kinds=store.served_kinds,
    )


def controllers(store: Store, gateways: Iterable[ObjectKey]) -> dict[ObjectKey, str]:
    """Name by Gateway the controller of its GatewayClass; "" where there is none."""
    return {key: _controller(store, store.get(key)) for key in gateways}


def gateway_parts(store: Store, gateways: Iterable[ObjectKey]) -> dict[ObjectKey, dict[ObjectKey, Object]]:
    """Return by Gateway what lies beside it for its callers."""
    found = {key: gateway for key in gateways if (gateway := store.get(key))}
    return {key: store.children(key, gateway["metadata"]["uid"]) for key, gateway in found.items()}


def _controller(store: Store, gateway: Object | None) -> str:
    name = (gateway or {}).get("spec", {}).get("gatewayClassName", "")
    found = store.get(ObjectKey(GATEWAY_CLASS.name, "", name))
    return str(found["spec"]["controllerName"]) if found else ""


def _quotas(store: Store) -> Iterator[TenantQuota]:
    """Pass over one that an older schema stored: it grants nothing."""
    for obj in _all(store, TENANT_QUOTA):
        try:
            yield TenantQuota.parse(obj)
        except ValidationError:
            continue


def _input_tokens(store: Store) -> Iterator[tuple[str, int]]:
    for obj in _all(store, QUEUE_CLASS):
        try:
            lane = QueueClass.parse(obj)
        except ValidationError:
            continue
        yield lane.metadata.name, lane.spec.requests.max_input_tokens


def _all(store: Store, kind: Kind) -> Iterator[Object]:
    return (obj for key in store.keys(kind) if (obj := store.get(key)))
