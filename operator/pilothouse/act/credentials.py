"""Where the API server is and who we are to it: a pod's ServiceAccount, or a kubeconfig.

The official client's loader reads both, with exec plug-ins and projected tokens that are rotated. Only its
request path isn't used: it costs twice the CPU of a bare session (see `act.rest`).
"""

import os
import ssl
from pathlib import Path
from typing import Final, Self

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import list_kube_config_contexts, load_incluster_config, load_kube_config

_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Credentials:
    """A loaded configuration; the token is read anew when it is due."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    @classmethod
    async def load(cls, context: str | None = None) -> Self:
        """Read $KUBECONFIG or ~/.kube/config, or in a pod its ServiceAccount; raises ConfigException.

        `context` is one of the kubeconfig's, by default its current one.
        """
        configuration = Configuration()
        if _is_in_cluster():
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(configuration)

    @property
    def server(self) -> str:
        """The API server's base address."""
        return str(self._configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The proxy on the way, if there is one."""
        return self._configuration.proxy or None

    @property
    def ca_file(self) -> str | None:
        """The file of the certificate authority."""
        return self._configuration.ssl_ca_cert or None

    @property
    def client_certificate(self) -> tuple[str, str | None] | None:
        """The files of the client certificate and its key."""
        certificate = self._configuration.cert_file
        return (certificate, self._configuration.key_file) if certificate else None

    @property
    def verify(self) -> bool:
        """Whether the server's certificate is checked."""
        return bool(self._configuration.verify_ssl)

    def ssl_context(self) -> ssl.SSLContext:
        """Build the TLS settings of a connection."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.client_certificate:
            context.load_cert_chain(*self.client_certificate)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def token(self) -> str | None:
        """Return the bearer token without its scheme, if there is one; a pod's is read anew each minute."""
        value = await self._configuration.get_api_key_with_prefix("BearerToken")
        return value.split(" ", 1)[-1].strip() if value else None


def default_namespace(context: str | None = None) -> str:
    """Return the namespace of the kubeconfig's context, in a pod its own; raises ConfigException."""
    if _is_in_cluster():
        return _OWN_NAMESPACE.read_text().strip()
    contexts, current = list_kube_config_contexts()  # type: ignore[no-untyped-call]
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def _is_in_cluster() -> bool:
    return "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
