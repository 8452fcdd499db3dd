"""A pod in the engine's place that answers with the headers that it got: what an engine would see."""

from e2e.manifests import IMAGE, Object
from e2e.team import Team

NAME = "mirror"
PORT = 8080
SOURCE = """
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path} | headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def stand_in(team: Team, model: str) -> str:
    """Have a mirror behind a copy of the route of a model; gives the path of its completions."""
    route = team.get("httproute", model)
    rule = next(each for each in route["spec"]["rules"] if path_of(each).endswith("/v1/completions"))
    path = f"/{team.namespace}/{NAME}"
    rule["matches"][0]["path"]["value"] = path
    rule["backendRefs"] = [{"name": NAME, "port": PORT}]
    spec = {"parentRefs": route["spec"]["parentRefs"], "rules": [rule]}
    container = {
        "name": NAME,
        "image": IMAGE,
        "command": ["python3", "-c", SOURCE],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    metadata = {"name": NAME, "labels": {"app": NAME}}
    service = {"selector": {"app": NAME}, "ports": [{"port": PORT}]}
    team.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": service},
        {"apiVersion": route["apiVersion"], "kind": "HTTPRoute", "metadata": {"name": NAME}, "spec": spec},
    )
    team.wait("--for=condition=Ready", f"pod/{NAME}")
    return path


def path_of(rule: Object) -> str:
    """The path that a rule matches."""
    return str(rule["matches"][0]["path"]["value"])
