"""Tenants whose callers show API keys, and a Gateway that tells them apart: as their owners declare them."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from e2e.manifests import Object
from e2e.team import Team
from e2e.traffic import ask
from harness import gateway
from harness.logs import generations
from harness.shell import wait_for
from pilothouse.names import CALLERS, OPERATOR_TENANT

GATEWAYS = "gateways"
POLICIES = "securitypolicies,backendtrafficpolicies,clienttrafficpolicies"
DEADLINE = 150

Kubectl = Callable[..., str]


class Tenant:
    """A TenantQuota and the Secret of its users' API keys, which lies in the Gateway's namespace."""

    def __init__(
        self, kubectl: Kubectl, namespaces: Sequence[str] = (), users: Sequence[str] = ("ada",)
    ) -> None:
        self.name = f"tenant-{uuid4().hex[:8]}"
        self._kubectl = kubectl
        self._namespaces = namespaces or [self.name]
        self._keys = {user: secrets.token_hex(16) for user in users}

    def headers(self, user: str = "ada") -> dict[str, str]:
        """Return what a user shows."""
        return {"Authorization": f"Bearer {self._keys[user]}"}

    def declare(self, **limits: Any) -> None:
        """Apply the Secret and the TenantQuota; `limits` are fields of `callers`."""
        keys = {f"{self.name}.{user}": key for user, key in self._keys.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": GATEWAYS},
            "stringData": keys,
        }
        self._kubectl("apply", "--filename=-", input=json.dumps(secret))
        self.limit(**limits)

    def limit(self, **limits: Any) -> None:
        """Apply the TenantQuota alone."""
        auth = {"apiKeys": {"secretNames": [self.name]}}
        declare(self._kubectl, self.name, self._namespaces, {"auth": auth, **limits})

    def status(self) -> Object:
        """Return the status of the TenantQuota."""
        quota: Object = json.loads(self._kubectl("get", "tenantquota", self.name, "--output=json"))
        return quota.get("status", {})

    def withdraw(self) -> None:
        """Delete both, as far as they are there: the Secret when no policy names it any more."""
        self._kubectl("delete", "tenantquota", self.name, "--ignore-not-found")
        wait_for("no policy to name the keys", lambda: not self._is_named(), seconds=DEADLINE, pause=0.5)
        self._kubectl("--namespace", GATEWAYS, "delete", "secret", self.name, "--ignore-not-found")

    def _is_named(self) -> bool:
        return self.name in self._kubectl("--namespace", GATEWAYS, "get", "securitypolicies", "--output=json")


def declare(kubectl: Kubectl, name: str, namespaces: Sequence[str], callers: Mapping[str, Any]) -> None:
    """Apply a TenantQuota."""
    quota = {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": name},
        "spec": {"namespaces": namespaces, "callers": callers},
    }
    kubectl("apply", "--validate=strict", "--filename=-", input=json.dumps(quota))


@contextmanager
def gateway_with_callers(
    kubeconfig: Path,
    kubectl: Kubectl,
    annotations: Mapping[str, str] | None = None,
    proxy: str = gateway.NAME,
) -> Iterator[tuple[str, str]]:
    """Have a Gateway of Envoy Gateway's that asks for API keys; gives its name and its base URL.

    `annotations` may say something else; `proxy` names the EnvoyProxy that its Envoys are made by.
    """
    name = f"callers-{uuid4().hex[:8]}"
    made = json.loads(kubectl("--namespace", GATEWAYS, "get", "gateway", gateway.NAME, "--output=json"))
    said = {CALLERS: "APIKeys", **(annotations or {})}
    copy = {key: made[key] for key in ("apiVersion", "kind", "spec")}
    copy["metadata"] = {"name": name, "namespace": GATEWAYS, "annotations": said}
    copy["spec"]["infrastructure"]["parametersRef"]["name"] = proxy
    kubectl("apply", "--filename=-", input=json.dumps(copy))
    try:
        wait_for("Envoy", lambda: gateway.is_ready(kubeconfig, name), seconds=DEADLINE, pause=0.5)
        yield name, gateway.url(kubeconfig, name)
    finally:
        kubectl("--namespace", GATEWAYS, "delete", "gateway", name)


def enforcement(tenant: Tenant) -> dict[str, Object]:
    """Return what the status of a TenantQuota says of each limit."""
    return {entry["limit"]: entry for entry in tenant.status().get("enforcement", [])}


def policies_of(kubectl: Kubectl, gateway_name: str) -> list[Object]:
    """Return what the operator has made beside a Gateway."""
    listed = kubectl("--namespace", GATEWAYS, "get", f"{POLICIES},httproutes", "--output=json")
    items: list[Object] = json.loads(listed)["items"]
    return [item for item in items if item["metadata"]["name"].startswith(f"pilothouse-{gateway_name}")]


def served_callers(team: Team, model: str) -> set[tuple[str, str]]:
    """Return the tenants and users of the generations that a model's guard has let through and logged."""
    [pod] = team.pods(model)
    text = team.kubectl("logs", pod["metadata"]["name"], "--container=engine")
    named = {(line["tenant"], line["user"]) for line in generations(text) if line["status"] == HTTPStatus.OK}
    return {(tenant, user) for tenant, user in named if tenant != OPERATOR_TENANT}


async def status_of(url: str, headers: Mapping[str, str] | None = None, **query: str) -> int:
    """Ask for a completion and return the status of the answer."""
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{url}/completions", params=query, json=ask(max_tokens=1)) as answer,
    ):
        await answer.read()
        return answer.status
