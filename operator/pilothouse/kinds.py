"""The Kubernetes kinds that Pilothouse reads or writes, and where the API server serves them."""

from dataclasses import dataclass
from typing import Final

from pilothouse import names


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of one API version.

    An optional kind may be missing from a cluster, come later and go again: that costs what needs it, nothing
    else.
    """

    name: str
    group: str
    version: str
    plural: str
    namespaced: bool = True
    optional: bool = False

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path below which the API server serves this API version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Build the path of one object, of one namespace's objects, or of all (the empty namespace)."""
        scope = f"namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (self.root, scope, self.plural, name, subresource) if part)


MODEL_DEPLOYMENT: Final = Kind("ModelDeployment", names.GROUP, names.VERSION, "modeldeployments")
QUEUE_CLASS: Final = Kind("QueueClass", names.GROUP, names.VERSION, "queueclasses", namespaced=False)
ROLLOUT_POLICY: Final = Kind("RolloutPolicy", names.GROUP, names.VERSION, "rolloutpolicies", namespaced=False)
LICENSE_POLICY: Final = Kind("LicensePolicy", names.GROUP, names.VERSION, "licensepolicies", namespaced=False)
LICENSE_APPROVAL: Final = Kind(
    "LicenseApproval", names.GROUP, names.VERSION, "licenseapprovals", namespaced=False
)
TENANT_QUOTA: Final = Kind("TenantQuota", names.GROUP, names.VERSION, "tenantquotas", namespaced=False)
GATEWAY: Final = Kind("Gateway", names.GATEWAY_GROUP, "v1", "gateways", optional=True)

GATEWAY_CLASS: Final = Kind(
    "GatewayClass", names.GATEWAY_GROUP, "v1", "gatewayclasses", namespaced=False, optional=True
)

DEPLOYMENT: Final = Kind("Deployment", "apps", "v1", "deployments")
CONTROLLER_REVISION: Final = Kind("ControllerRevision", "apps", "v1", "controllerrevisions")
CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
SERVICE: Final = Kind("Service", "", "v1", "services")
POD_DISRUPTION_BUDGET: Final = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
RESOURCE_QUOTA: Final = Kind("ResourceQuota", "", "v1", "resourcequotas")
HTTP_ROUTE: Final = Kind("HTTPRoute", names.GATEWAY_GROUP, "v1", "httproutes", optional=True)
NETWORK_POLICY: Final = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
MIDDLEWARE: Final = Kind("Middleware", "traefik.io", "v1alpha1", "middlewares", optional=True)

_ENVOY: Final = ("gateway.envoyproxy.io", "v1alpha1")
SECURITY_POLICY: Final = Kind("SecurityPolicy", *_ENVOY, "securitypolicies", optional=True)
CLIENT_TRAFFIC_POLICY: Final = Kind("ClientTrafficPolicy", *_ENVOY, "clienttrafficpolicies", optional=True)
BACKEND_TRAFFIC_POLICY: Final = Kind("BackendTrafficPolicy", *_ENVOY, "backendtrafficpolicies", optional=True)

POD: Final = Kind("Pod", "", "v1", "pods")
ENDPOINT_SLICE: Final = Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
EVENT: Final = Kind("Event", "events.k8s.io", "v1", "events")
SECRET: Final = Kind("Secret", "", "v1", "secrets")
LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases")

RECONCILED: Final = (MODEL_DEPLOYMENT, TENANT_QUOTA, GATEWAY)
"""Kinds that have a reconciler in `control`: a key of one of these is what the Queue holds."""

REFERENCED: Final = (QUEUE_CLASS, ROLLOUT_POLICY, GATEWAY)
"""Kinds that a ModelDeployment refers to by name."""

GOVERNING: Final = (LICENSE_POLICY, LICENSE_APPROVAL, GATEWAY_CLASS)
"""Kinds that may concern any ModelDeployment."""

STEERING: Final = (TENANT_QUOTA, GATEWAY_CLASS, QUEUE_CLASS)
"""Kinds that may concern any Gateway."""

CHILDREN: Final = (
    DEPLOYMENT,
    SERVICE,
    POD_DISRUPTION_BUDGET,
    CONTROLLER_REVISION,
    CONFIG_MAP,
    HTTP_ROUTE,
    RESOURCE_QUOTA,
    NETWORK_POLICY,
    MIDDLEWARE,
    SECURITY_POLICY,
    CLIENT_TRAFFIC_POLICY,
    BACKEND_TRAFFIC_POLICY,
)
"""Kinds that Pilothouse creates; only those with its label are watched."""

WATCHED: Final = tuple(dict.fromkeys((*RECONCILED, *REFERENCED, *GOVERNING, *CHILDREN)))
"""Kinds of which the Store holds every object that matters."""

OPTIONAL: Final = tuple(kind for kind in WATCHED if kind.optional)
"""Kinds that a cluster may lack."""

CHILDREN_SELECTOR: Final = f"{names.MANAGED_BY}={names.MANAGED_BY_VALUE}"
"""The label selector of all children."""

BY_NAME: Final = {kind.name: kind for kind in (*WATCHED, POD, EVENT, SECRET, LEASE)}
