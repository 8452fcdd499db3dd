"""The cluster's keys: one authority, a certificate for each component, a key pair for service accounts."""

import base64
import json
from pathlib import Path

from harness.paths import STATE
from harness.shell import run

FOLDER = STATE / "pki"
DAYS = "365"
EXTENSIONS = "extendedKeyUsage = clientAuth, serverAuth\nauthorityKeyIdentifier = keyid"


def create(server: str, names: tuple[str, ...], node: str) -> None:
    """Write keys, certificates and kubeconfigs into FOLDER.

    Args:
        server: the API server's URL, for the kubeconfigs.
        names: what the API server is called by, in OpenSSL's words: `IP:127.0.0.1`, `DNS:localhost`.
        node: the node's name.

    """
    FOLDER.mkdir(parents=True, mode=0o700)
    _openssl("req", "-x509", *_new_key("ca"), "-subj", "/CN=pilothouse-harness", "-out", FOLDER / "ca.crt")
    _openssl("genpkey", "-algorithm", "RSA", "-out", FOLDER / "service-accounts.key")
    _openssl(
        "pkey", "-in", FOLDER / "service-accounts.key", "-pubout", "-out", FOLDER / "service-accounts.pub"
    )
    _certificate("apiserver", "/CN=kube-apiserver", names)
    _certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    clients = {
        "admin": "/O=system:masters/CN=admin",
        "kube-controller-manager": "/CN=system:kube-controller-manager",
        "kube-scheduler": "/CN=system:kube-scheduler",
        "kube-proxy": "/CN=system:kube-proxy",
        "kubelet": f"/O=system:nodes/CN=system:node:{node}",
    }
    for client, subject in clients.items():
        _certificate(client, subject)
        kubeconfig(client).write_text(_kubeconfig(client, server))


def kubeconfig(client: str) -> Path:
    """Return where the kubeconfig of a component, or of `admin`, is."""
    return FOLDER / f"{client}.kubeconfig"


def _certificate(name: str, subject: str, names: tuple[str, ...] = ()) -> None:
    request, extensions = FOLDER / f"{name}.csr", FOLDER / f"{name}.ext"
    alternatives = f"\nsubjectAltName = {','.join(names)}" if names else ""
    extensions.write_text(f"{EXTENSIONS}{alternatives}\n")
    _openssl("req", *_new_key(name), "-subj", subject, "-out", request)
    authority = ("-CA", FOLDER / "ca.crt", "-CAkey", FOLDER / "ca.key", "-CAcreateserial")
    _openssl(
        "x509",
        "-req",
        "-in",
        request,
        *authority,
        "-days",
        DAYS,
        "-extfile",
        extensions,
        "-out",
        FOLDER / f"{name}.crt",
    )


def _new_key(name: str) -> tuple[str | Path, ...]:
    return (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-days",
        DAYS,
        "-keyout",
        FOLDER / f"{name}.key",
    )


def _kubeconfig(client: str, server: str) -> str:
    user = {"client-certificate-data": _base64(f"{client}.crt"), "client-key-data": _base64(f"{client}.key")}
    cluster = {"server": server, "certificate-authority-data": _base64("ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "pilothouse", "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "pilothouse", "context": {"cluster": "pilothouse", "user": client}}],
        "current-context": "pilothouse",
    }
    return json.dumps(config, indent=2)


def _base64(name: str) -> str:
    return base64.b64encode((FOLDER / name).read_bytes()).decode()


def _openssl(*argv: str | Path) -> None:
    run(["openssl", *argv])
