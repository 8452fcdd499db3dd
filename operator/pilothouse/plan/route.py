"""The HTTPRoute: the generation paths and nothing else, each revision's Service by its weight.

vLLM leaves /metrics, /tokenize and /invocations unguarded, so a prefix match would open them; each path is
matched exactly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeployment import Guard, ModelDeployment, ParentRef, Route
from pilothouse.api.queueclass import QueueClass
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.workload import SERVICE_PORT, owned_metadata

_METHODS: Final = {"/v1/completions": "POST", "/v1/chat/completions": "POST", "/v1/models": "GET"}
"""The only engine paths that a route opens."""

_DEFAULT_PORTS: Final = {"HTTP": 80, "HTTPS": 443}

_LAST_WORDS_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class RouteCallers:
    """What a route does about who calls: headers to remove, filters in their order, the objects they name."""

    removed: tuple[str, ...]
    filters: tuple[Object, ...] = ()
    objects: tuple[Object, ...] = ()


def http_route(
    deployment: ModelDeployment,
    route: Route,
    queue_class: QueueClass,
    weights: Mapping[str, int],
    callers: RouteCallers,
) -> Object:
    """Route by `weights`, percent per revision.

    A revision of weight 0 is left out: some gateways leak traffic to it.
    """
    spec: Object = {
        "parentRefs": [_parent(ref, deployment.metadata.namespace) for ref in route.parent_refs],
        "rules": [
            _rule(
                path,
                f"{route.path_prefix}{path}",
                _timeout(deployment, queue_class),
                _backends(deployment, weights),
                callers,
            )
            for path in _METHODS
        ],
    }
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": f"{names.GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": owned_metadata(deployment, deployment.metadata.name),
        "spec": spec,
    }


def gateway_keys(deployment: ModelDeployment) -> list[ObjectKey]:
    """Gateways that the route is to be carried by."""
    route = deployment.spec.route
    if not route:
        return []
    own = deployment.metadata.namespace
    return [ObjectKey("Gateway", ref.namespace or own, ref.name) for ref in route.parent_refs]


def base_url(deployment: ModelDeployment, gateways: Mapping[ObjectKey, Object]) -> str:
    """Return where clients reach the model, or "" while no Gateway has a name or an address for it."""
    meta, route = deployment.metadata, deployment.spec.route
    if not route:
        return f"http://{meta.name}.{meta.namespace}/v1"
    present = (gateways[key] for key in gateway_keys(deployment) if key in gateways)
    origin = next(filter(None, (_origin(gateway, route.hostnames) for gateway in present)), "")
    return f"{origin}{route.path_prefix}/v1" if origin else ""


def _rule(path: str, public_path: str, timeout: str, backends: list[Object], callers: RouteCallers) -> Object:
    return {
        "matches": [{"path": {"type": "Exact", "value": public_path}, "method": _METHODS[path]}],
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": list(callers.removed)}},
            *callers.filters,
            {
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}},
            },
        ],
        "backendRefs": backends,
        # Without it the gateway's own default (15 s with Envoy) cuts streams.
        "timeouts": {"request": timeout},
    }


def _timeout(deployment: ModelDeployment, queue_class: QueueClass) -> str:
    """Return the limit for a whole answer: where a guard ends it with proper last words, a little later."""
    limit = queue_class.spec.requests.timeout
    if deployment.spec.engine.guard is Guard.DISABLED:
        return str(limit)
    return f"{math.ceil(limit.seconds + _LAST_WORDS_SECONDS)}s"


def _backends(deployment: ModelDeployment, weights: Mapping[str, int]) -> list[Object]:
    return [
        {
            "group": "",
            "kind": "Service",
            "name": names.child_name(deployment.metadata.name, revision),
            "port": SERVICE_PORT,
            "weight": weight,
        }
        for revision, weight in weights.items()
        if weight
    ]


def _parent(ref: ParentRef, own_namespace: str) -> Object:
    return {
        "group": names.GATEWAY_GROUP,
        "kind": "Gateway",
        "name": ref.name,
        "namespace": ref.namespace or own_namespace,
    }


def _origin(gateway: Object, hostnames: Sequence[str]) -> str:
    """Scheme, host and port of the first listener that serves HTTP and can be named."""
    for listener in gateway["spec"].get("listeners", []):
        host = _host(gateway, listener, hostnames)
        if listener["protocol"] in _DEFAULT_PORTS and host:
            scheme = listener["protocol"].lower()
            is_default = listener["port"] == _DEFAULT_PORTS[listener["protocol"]]
            return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{listener['port']}"
    return ""


def _host(gateway: Object, listener: Object, hostnames: Sequence[str]) -> str:
    """Return a name that the route answers, or the Gateway's address where it answers to any."""
    named = hostnames or [name for name in [listener.get("hostname")] if name]
    if named:
        return next((name for name in named if not name.startswith("*")), "")
    addresses = [entry["value"] for entry in gateway.get("status", {}).get("addresses", [])]
    return next((f"[{address}]" if ":" in address else address for address in addresses), "")
