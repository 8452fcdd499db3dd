"""A service that says who a key is, for gateways that ask one: in the cluster, as a pod."""

import json
from collections.abc import Mapping

from e2e.manifests import IMAGE, Object

NAME = "who"
PORT = 8080
SOURCE = """
import http.server, json, os

KEYS = json.loads(os.environ["KEYS"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = KEYS.get(self.headers.get("Authorization", ""))
        self.send_response(200 if known else 401)
        for header, value in (known or {}).items():
            self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def service(keys: Mapping[str, Mapping[str, str]]) -> list[Object]:
    """Return the objects of a service that answers to each `Authorization` with these headers."""
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": IMAGE,
        "command": ["python3", "-c", SOURCE],
        "env": [{"name": "KEYS", "value": json.dumps(keys)}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]
