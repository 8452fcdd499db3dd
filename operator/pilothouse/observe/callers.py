"""The TenantQuotas whose callers a model serves: its namespace's own, and those that its route lets in."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.plan.observed import Object


def tenants(quotas: Iterable[Object], deployment: ModelDeployment) -> dict[str, TenantQuota | None]:
    """Return those with callers by name, None for one that an older schema stored: nobody can call by it."""
    return {obj["metadata"]["name"]: _quota_or_none(obj) for obj in _concerned(quotas, deployment)}


def _concerned(quotas: Iterable[Object], deployment: ModelDeployment) -> Iterator[Object]:
    route, namespace = deployment.spec.route, deployment.metadata.namespace
    invited = route.allow_tenants if route else ()
    for quota in quotas:
        spec, name = quota.get("spec") or {}, quota["metadata"]["name"]
        if spec.get("callers") and (namespace in (spec.get("namespaces") or ()) or name in invited):
            yield quota


def _quota_or_none(obj: Object) -> TenantQuota | None:
    try:
        return TenantQuota.parse(obj)
    except ValidationError:
        return None
