"""Any Gateway API implementation that has no dialect of its own: routes, and nothing else.

Callers are told apart where the Gateway's owner has seen to it by the gateway's own means.
"""

from pilothouse.gateways.dialect import HELD, GatewayUse, Part, Proof, RouteParts, Tenant, why_not_asked


class Plain:
    """Asks nothing of the gateway that the Gateway API does not have."""

    def parts(self, use: GatewayUse) -> list[Part]:
        """Return nothing."""
        del use
        return []

    def route_parts(self, use: GatewayUse, name: str, tenants: tuple[Tenant, ...]) -> RouteParts:
        """Return nothing."""
        del use, name, tenants
        return RouteParts()

    def names_callers(self, use: GatewayUse) -> bool:
        """Believe the Gateway's owner."""
        return use.proof is Proof.EXTERNAL

    def why_unnamed(self, use: GatewayUse, tenant: Tenant) -> str:
        """Refer to the Gateway's owner."""
        del tenant
        return HELD if use.proof is Proof.EXTERNAL else why_not_asked(use, Proof.EXTERNAL)

    def why_no_rate(self, use: GatewayUse, tenant: Tenant, limit: str) -> str:
        """Hold no rates."""
        del tenant, limit
        return f"{use.title} is of a kind for which Pilothouse has no rate limits"
