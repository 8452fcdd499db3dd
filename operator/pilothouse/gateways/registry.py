"""Which dialect a Gateway speaks, by the name of its GatewayClass's controller."""

from collections.abc import Mapping
from typing import Final

from pilothouse.gateways.dialect import Dialect
from pilothouse.gateways.envoy import Envoy
from pilothouse.gateways.plain import Plain
from pilothouse.gateways.traefik import Traefik

DIALECTS: Final[Mapping[str, Dialect]] = {
    "gateway.envoyproxy.io/gatewayclass-controller": Envoy(),
    "traefik.io/gateway-controller": Traefik(),
}
_PLAIN: Final = Plain()


def dialect_of(controller: str) -> Dialect:
    """Return the dialect of a controller; the plain one where nobody knows it."""
    return DIALECTS.get(controller, _PLAIN)
