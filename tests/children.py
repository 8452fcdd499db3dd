"""The kinds of which every model with a route has a child, whatever tenants and gateways there are."""

from pilothouse.kinds import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    HTTP_ROUTE,
    POD_DISRUPTION_BUDGET,
    SERVICE,
)

OF_A_MODEL = (CONFIG_MAP, CONTROLLER_REVISION, DEPLOYMENT, HTTP_ROUTE, POD_DISRUPTION_BUDGET, SERVICE)
