"""Identity providers: they sign tokens, and publish their keys over HTTPS, with a company's own authority.

A key server is a pod of the cluster. Its certificate is of an authority that no trust store has: Envoys trust
it by a ConfigMap in the place of theirs.
"""

import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from e2e.callers import GATEWAYS
from e2e.manifests import IMAGE, Object
from e2e.team import Team
from harness import gateway
from harness.authority import Authority

AUDIENCE = "models"
ENVOYS = "envoy-gateway-system"
"""The namespace of Envoy's pods."""
SOURCE = """
import http.server, os, ssl

class Handler(http.server.BaseHTTPRequestHandler):
    keys = os.environ["KEYS"].encode()

    def do_GET(self):
        self.answer(Handler.keys)

    def do_PUT(self):
        Handler.keys = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

for name in ("CERTIFICATE", "KEY"):
    open("/tmp/" + name, "w").write(os.environ[name])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/CERTIFICATE", "/tmp/KEY")
server = http.server.ThreadingHTTPServer(("", 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class Key:
    """A key pair that signs tokens; `name` is its own, unless it is a forger's."""

    def __init__(self, name: str = "") -> None:
        self.name = name or uuid4().hex
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def published(self) -> Object:
        """The public half, as a key server tells it."""
        public: Object = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return public | {"kid": self.name, "alg": "ES256", "use": "sig"}


class Issuer:
    """An identity provider in a team's namespace."""

    def __init__(self, team: Team, name: str, authority: Authority) -> None:
        self._team = team
        self._name = name
        self._authority = authority
        self._host = f"{name}.{team.namespace}.svc.cluster.local"
        self.url = f"https://{self._host}"
        self.key = Key()

    def auth(self, *audiences: str) -> Object:
        """Return how callers prove themselves who have tokens of this issuer."""
        keys = f"{self.url}/keys.json"
        return {"jwt": {"issuer": self.url, "audiences": audiences or [AUDIENCE], "jwksURI": keys}}

    def token(self, tenant: str, user: str = "ada", key: Key | None = None, **claims: Any) -> str:
        """Sign a token; `claims` replace its own."""
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "exp": int(time.time()) + 600,
            "tenant": tenant,
            "sub": user,
        }
        signing = key or self.key
        return jwt.encode(said | claims, signing.private, "ES256", headers={"kid": signing.name})

    def start(self) -> None:
        """Have the key server run."""
        certificate, key = self._authority.issue(self._host)
        env = {"KEYS": self._keys, "CERTIFICATE": certificate, "KEY": key}
        container = {
            "name": "keys",
            "image": IMAGE,
            "command": ["python3", "-c", SOURCE],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "readinessProbe": {"tcpSocket": {"port": 443}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "securityContext": {"runAsUser": 0},
        }
        metadata = {"name": self._name, "labels": {"app": self._name}}
        self._team.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": self._name},
                "spec": {"selector": {"app": self._name}, "ports": [{"port": 443}]},
            },
        )
        self._team.wait("--for=condition=Ready", f"pod/{self._name}")

    def rotate(self) -> Key:
        """Sign with a new key from now on, and publish it alone; gives the old one."""
        old, self.key = self.key, Key()
        address = self._team.get("pod", self._name)["status"]["podIP"]
        told = urllib.request.Request(f"https://{address}", self._keys.encode(), method="PUT")
        with urllib.request.urlopen(told, context=self._trust, timeout=10):  # noqa: S310
            return old

    def stop(self) -> None:
        """Take the key server away."""
        self._team.kubectl("delete", "pod", self._name, "--now")

    @property
    def _keys(self) -> str:
        return json.dumps({"keys": [self.key.published]})

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._authority.certificate)
        context.check_hostname = False  # It is called by its address.
        return context


@contextmanager
def trusting(kubectl: Callable[..., str], authority: Authority) -> Iterator[str]:
    """Have an EnvoyProxy whose Envoys trust this authority and no other; gives its name."""
    name = f"trusting-{uuid4().hex[:8]}"
    bundle = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": ENVOYS},
        "data": {"ca-certificates.crt": authority.certificate},
    }
    proxy = json.loads(kubectl("--namespace", GATEWAYS, "get", "envoyproxy", gateway.NAME, "--output=json"))
    proxy["metadata"] = {"name": name, "namespace": GATEWAYS}
    envoys = proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]
    envoys["pod"] = {"volumes": [{"name": "trust", "configMap": {"name": name}}]}
    envoys["container"]["volumeMounts"] = [{"name": "trust", "mountPath": "/etc/ssl/certs", "readOnly": True}]
    kubectl(
        "apply",
        "--filename=-",
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [bundle, proxy]}),
    )
    try:
        yield name
    finally:
        kubectl("--namespace", ENVOYS, "delete", "configmap", name)
        kubectl("--namespace", GATEWAYS, "delete", "envoyproxy", name)
